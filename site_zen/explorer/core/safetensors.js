// safetensors.js - Tensors in a file of the safetensors format.
//
//     8 bytes   N, the length of the header, a little-endian whole number
//     N bytes   the header, a JSON object: a tensor's name -> its dtype, its shape and data_offsets [begin, end], in
//               bytes from the header's end; "__metadata__" -> an object, text to text
//     the rest  the tensors' numbers, row-major and little-endian, one tensor right after the other
//
// REQ: the file is not trusted. Its header is checked against the file's size before memory is taken for a tensor.
// OBS: numbers are read in the machine's byte order; no browser runs on a big-endian machine.
//
// It knows names, shapes and numbers, but no models.

import { quoted } from "./csv.js";
import { isObject, parseObject } from "./json.js";

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
    for (const { begin, end, name, dtype, shape } of entriesOf(header)) {
      if (begin !== position || end > data.length) {
        throw new Error(`tensor ${quoted(name)} leaves a gap, overlaps another one, or ends outside the file`);
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

/** Return the header, and the bytes after it. */
function readHeader(bytes) {
  if (bytes.length < LENGTH_BYTES) {
    throw new Error(`truncated: ${bytes.length} bytes, and the length of the header alone takes ${LENGTH_BYTES}`);
  }
  const length = Number(new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(0, true));
  if (length > bytes.length - LENGTH_BYTES) {
    throw new Error(`truncated, or not safetensors: a header of ${length} bytes in a file of ${bytes.length}`);
  }
  const end = LENGTH_BYTES + length;
  const text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes.subarray(LENGTH_BYTES, end));
  return { header: parseObject(text, "the header"), data: bytes.subarray(end) };
}

/** Return the tensors that the header describes, in the order of their bytes. */
function entriesOf(header) {
  return Object.entries(header)
    .filter(([name]) => name !== "__metadata__")
    .map(([name, entry]) => entryOf(name, entry))
    .sort((a, b) => a.begin - b.begin || a.end - b.end);
}

function entryOf(name, entry) {
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
    throw new Error(`tensor ${quoted(name)}: its data_offsets do not span the ${size} bytes of its shape`);
  }
  return { begin, end, name, dtype, shape };
}

function isSizes(value) {
  return Array.isArray(value) && value.every((number) => Number.isSafeInteger(number) && number >= 0);
}
