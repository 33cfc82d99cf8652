// json.js - JSON that is not trusted: what is not the expected kind of value is refused with the file's name.

/** Whether a value is an object with names, not a list. */
export function isObject(value) {
  return value !== null && typeof value === "object" && !Array.isArray(value);
}

/**
 * Return the JSON object that a text holds.
 *
 * @param {string} text
 * @param {string} file - Its name, for messages.
 * @returns {object}
 */
export function parseObject(text, file) {
  let value;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new Error(`${file}: not JSON: ${error.message}`);
  }
  if (!isObject(value)) {
    throw new Error(`${file}: not a JSON object`);
  }
  return value;
}
