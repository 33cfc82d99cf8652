// safetensors.js - Tensors in a file of the safetensors format.
//
//     8 bytes   N, the length of the header, a little-endian whole number
//     N bytes   the header, a JSON object: a tensor's name -> its dtype, its shape and data_offsets [begin, end], in
//               bytes from the header's end; "__metadata__" -> an object, text to text
//     the rest  the tensors' numbers, row-major and little-endian, one tensor after the other with nothing between
//
// REQ: the file is not trusted. Its header is checked against its size before anything of a stated size is made.
// OBS: numbers are taken as the machine has them; no browser runs on a big-endian one.
//
// It knows names, shapes and numbers; it does not know models, or which tensors one needs.

import { quoted } from "./csv.js";

const LENGTH_BYTES = 8;
const ARRAY_OF_DTYPE = { F64: Float64Array, F32: Float32Array };

/** @typedef {{shape: number[], numbers: Float64Array | Float32Array}} Tensor - Its numbers row by row. */

/**
 * Read all tensors of a file.
 *
 * @param {Uint8Array} bytes - Its content.
 * @param {string} file - Its name, for messages.
 * @returns {Map<string, Tensor>}
 * @throws {Error} The file is damaged, or has a dtype other than F64 and F32, or a number that is not finite.
 */
export function readSafetensors(bytes, file) {
  try {
    const { header, data } = readHeader(bytes);
    const tensors = new Map();
    let position = 0;
    for (const { begin, end, name, dtype, shape } of placesOf(header)) {
      if (begin !== position || end > data.length) {
        throw new Error(`tensor ${quoted(name)} leaves a hole, overlaps another one, or lies outside the file`);
      }
      position = end;
      const numbers = new ARRAY_OF_DTYPE[dtype](data.slice(begin, end).buffer);
      if (!numbers.every(Number.isFinite)) {
        throw new Error(`tensor ${quoted(name)} holds a number that is not finite`);
      }
      tensors.set(name, { shape, numbers });
    }
    if (position !== data.length) {
      throw new Error(`the tensors take ${position} bytes, the file has ${data.length} after its header`);
    }
    return tensors;
  } catch (error) {
    throw new Error(`${file}: ${error.message}`);
  }
}

/** Return the header, and the bytes behind it. */
function readHeader(bytes) {
  if (bytes.length < LENGTH_BYTES) {
    throw new Error(`truncated: ${bytes.length} bytes, and the length of the header alone takes ${LENGTH_BYTES}`);
  }
  const length = Number(new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(0, true));
  if (length > bytes.length - LENGTH_BYTES) {
    throw new Error(`truncated, or not safetensors: a header of ${length} bytes in a file of ${bytes.length}`);
  }
  const end = LENGTH_BYTES + length;
  let header;
  try {
    const text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes.subarray(LENGTH_BYTES, end));
    header = JSON.parse(text);
  } catch (error) {
    throw new Error(`the header cannot be read (${error.message})`);
  }
  if (!isObject(header)) {
    throw new Error("the header is not a JSON object");
  }
  return { header, data: bytes.subarray(end) };
}

/** Return where the tensors lie, in the order of their bytes. */
function placesOf(header) {
  return Object.entries(header)
    .filter(([name]) => name !== "__metadata__")
    .map(([name, entry]) => placeOf(name, entry))
    .sort((a, b) => a.begin - b.begin || a.end - b.end);
}

function placeOf(name, entry) {
  const { dtype, shape, data_offsets: offsets } = isObject(entry) ? entry : {};
  if (!Object.hasOwn(ARRAY_OF_DTYPE, dtype)) {
    throw new Error(`tensor ${quoted(name)}: its dtype is neither F64 nor F32`);
  }
  if (!isSizes(shape) || !isSizes(offsets) || offsets.length !== 2) {
    throw new Error(`tensor ${quoted(name)}: its shape or its data_offsets are not lists of whole numbers`);
  }
  const [begin, end] = offsets;
  const size = shape.reduce((product, length) => product * length, ARRAY_OF_DTYPE[dtype].BYTES_PER_ELEMENT);
  if (end - begin !== size) {
    throw new Error(`tensor ${quoted(name)}: its data_offsets do not mark the ${size} bytes of its shape`);
  }
  return { begin, end, name, dtype, shape };
}

function isObject(value) {
  return value !== null && typeof value === "object" && !Array.isArray(value);
}

function isSizes(value) {
  return Array.isArray(value) && value.every((number) => Number.isSafeInteger(number) && number >= 0);
}
