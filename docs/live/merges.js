// merges.js - Byte-pair encoding, merge by merge, on a text that the reader may change.
//
// As tokenizers/bpe_naive.py does it, but with characters in the place of bytes; for English letters that is the same.

(() => {
  const { bringToLife, element, seen } = globalThis.toyGptParts;
  const SHOWN = 5; // merges listed
  // GPT-2's pattern: merges never cross the borders of these pieces.
  const PRETOKENS = /'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+/gu;

  /** Return the most frequent pair of neighbors; of equally frequent ones the greater. Undefined if there is none. */
  function bestPair(split) {
    const counts = new Map();
    for (const tokens of split) {
      for (let i = 1; i < tokens.length; i++) {
        const key = JSON.stringify([tokens[i - 1], tokens[i]]);
        counts.set(key, (counts.get(key) ?? 0) + 1);
      }
    }
    const found = [...counts].map(([key, count]) => ({ pair: JSON.parse(key), count }));
    const isGreater = ([a, b], [c, d]) => a > c || (a === c && b > d);
    return found.reduce(
      (best, one) =>
        best === undefined || one.count > best.count || (one.count === best.count && isGreater(one.pair, best.pair))
          ? one
          : best,
      undefined,
    );
  }

  /** Merge a pair wherever it stands, from left to right. */
  function mergeAll(tokens, [left, right]) {
    const merged = [];
    for (let i = 0; i < tokens.length; i++) {
      const isPair = tokens[i] === left && tokens[i + 1] === right;
      merged.push(isPair ? left + right : tokens[i]);
      i += isPair;
    }
    return merged;
  }

  /** Return the merges that were learned, and the pieces after them. */
  function train(text, most) {
    let split = (text.match(PRETOKENS) ?? []).map((word) => [...word]);
    const merges = [];
    while (merges.length < most) {
      const best = bestPair(split);
      if (best === undefined) {
        break;
      }
      merges.push(best);
      split = split.map((tokens) => mergeAll(tokens, best.pair));
    }
    return { merges, pieces: split.flat() };
  }

  function start({ at }) {
    const [text, slider, said, pieces, learned] = ["text", "merges", "said", "pieces", "learned"].map(at);

    function show() {
      const { merges, pieces: tokens } = train(text.value, Number(slider.value));
      const last = merges.at(-1)?.pair.join("");
      slider.nextElementSibling.textContent = slider.value;
      const count = `${tokens.length} tokens, ${new Set(tokens).size} of them different`;
      said.textContent = merges.length < Number(slider.value) ? `After ${merges.length} merges nothing is left to merge: ${count}.` : `${count}:`;
      pieces.replaceChildren(...tokens.map((token) => element("span", token === last ? "new" : "", seen(token))));
      const list = merges.slice(-SHOWN).map(({ pair: [a, b], count: times }) => `“${seen(a)}” + “${seen(b)}” (${times} times)`);
      learned.textContent = list.length ? `The last merges: ${list.reverse().join(", ")}` : "Every character is a token.";
    }

    return show;
  }

  bringToLife("merges", start);
})();
