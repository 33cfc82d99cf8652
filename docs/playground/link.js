// link.js - A training run as an address: the arguments, and a text of one's own if it is short, compressed.

export const LONGEST = 6000; // characters of a compressed text; addresses much longer than that get lost on their way

async function through(bytes, stream) {
  return new Uint8Array(await new Response(new Blob([bytes]).stream().pipeThrough(stream)).arrayBuffer());
}

/**
 * Return the address of the playground with an order.
 *
 * @param {{line: string, text: string, isOwn: boolean}} order
 * @returns {Promise<{address: string, hasText: boolean}>} `hasText` is false if the text is too long for an address.
 */
export async function addressOf({ line, text, isOwn }) {
  const query = new URLSearchParams({ train: line });
  let hasText = true;
  if (isOwn) {
    const packed = await through(new TextEncoder().encode(text), new CompressionStream("deflate-raw"));
    hasText = (packed.length * 4) / 3 <= LONGEST;
    if (hasText) {
      const letters = btoa(String.fromCharCode(...packed));
      query.set("text", letters.replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", ""));
    }
  }
  return { address: new URL(`?${query}`, location).href, hasText };
}

/** Return the text of an address; undefined if it has none. Throws an Error if it is damaged. */
export async function textOf(query) {
  if (!query.has("text")) {
    return undefined;
  }
  try {
    const letters = atob(query.get("text").replaceAll("-", "+").replaceAll("_", "/"));
    const packed = Uint8Array.from(letters, (letter) => letter.charCodeAt(0));
    return new TextDecoder("utf-8", { fatal: true }).decode(await through(packed, new DecompressionStream("deflate-raw")));
  } catch {
    throw new Error("the text in the address is damaged");
  }
}
