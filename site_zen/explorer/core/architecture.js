// architecture.js - How large a network is, as its metadata say it, and how its queries and keys are rotated.

const META_NAME = "00_meta.json";

const USUAL_ROPE_BASE = 10_000;
const LARGEST_ROPE_BASE = 1e9;
const USUAL_NORM_EPSILON = 1e-5;

/** Return a size that the metadata's architecture gives. */
export function sizeOf({ architecture }, name) {
  const size = architecture[name];
  if (!Number.isSafeInteger(size) || size < 1) {
    throw new Error(`${META_NAME}: the architecture's ${name} is not a whole number above 0`);
  }
  return size;
}

/** Return the base of the rotation of queries and keys; older files do not have it. */
function ropeBaseOf({ architecture }) {
  const { rope_base: base = USUAL_ROPE_BASE } = architecture;
  if (!(typeof base === "number" && base >= 1 && base <= LARGEST_ROPE_BASE)) {
    throw new Error(`${META_NAME}: the architecture's rope_base is not a number from 1 to ${LARGEST_ROPE_BASE}`);
  }
  return base;
}

/**
 * Return the angle per position of each pair of a head's numbers. An imported model may turn more slowly; see
 * RopeScaling in nn/rotation.py.
 */
export function turnsOf(meta, headSize) {
  const base = ropeBaseOf(meta);
  const turns = Array.from({ length: headSize / 2 }, (_, i) => base ** ((-2 * i) / headSize));
  const scaling = meta.architecture.rope_scaling;
  if (scaling === undefined) {
    return turns;
  }
  const numbers = ["factor", "low_freq_factor", "high_freq_factor", "original_context"].map((name) => scaling?.[name]);
  const [factor, low, high, original] = numbers;
  if (!numbers.every(Number.isFinite) || factor < 1 || original < 0 || (original && !(low > 0 && high > low))) {
    throw new Error(`${META_NAME}: the architecture's rope_scaling is damaged`);
  }
  return turns.map((turn) => {
    const kept = original ? ((original * turn) / (2 * Math.PI) - low) / (high - low) : 0;
    const share = Math.min(Math.max(kept, 0), 1);
    return turn * ((1 - share) / factor + share);
  });
}

/** Return what the norms add to a variance; most files do not say it. */
export function normEpsilonOf({ architecture }) {
  const { norm_eps: epsilon = USUAL_NORM_EPSILON } = architecture;
  if (!(typeof epsilon === "number" && epsilon >= 1e-12 && epsilon <= 1)) {
    throw new Error(`${META_NAME}: the architecture's norm_eps is not a number from 1e-12 to 1`);
  }
  return epsilon;
}

/** Return how many heads of queries share a head of keys and values. */
export function sharedByOf(meta) {
  const heads = sizeOf(meta, "heads");
  const sharedBy = meta.architecture.kv_heads ? heads / sizeOf(meta, "kv_heads") : 1;
  if (!Number.isInteger(sharedBy)) {
    throw new Error(`${META_NAME}: its ${heads} heads cannot share the heads of keys and values evenly`);
  }
  return sharedBy;
}

/** Return how many numbers each head has. */
export function headSizeOf(meta) {
  if (meta.architecture.head_dim) {
    return sizeOf(meta, "head_dim");
  }
  const size = sizeOf(meta, "embedding_dim") / sizeOf(meta, "heads");
  if (!Number.isInteger(size)) {
    throw new Error(`${META_NAME}: its heads cannot share an embedding of ${sizeOf(meta, "embedding_dim")} numbers`);
  }
  return size;
}
