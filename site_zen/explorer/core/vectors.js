// vectors.js - Many vectors in two dimensions, and which of them point the same way.
//
// Concepts:
//     principal component: the direction in which vectors differ most; the second one is the direction at a right angle
//         to it in which they differ most.
//     cosine: 1 if two vectors point the same way, 0 at a right angle, -1 if they point opposite ways.
//
// It knows nothing of tokens or the page.

// WHY: a sample of thousands of vectors has nearly the same directions, and the reader is waiting.
const MOST_FOR_AXES = 1000;
const MOST_ROUNDS = 100;

/**
 * Project vectors onto their first two principal components.
 *
 * Source: Pearson (1901), "On lines and planes of closest fit to systems of points in space".
 *
 * @param {ArrayLike<number>} numbers - Row by row, `size` numbers per vector.
 * @param {number} size
 * @returns {{points: [number, number][], share: number}} Two numbers for each vector, and the share of the variance
 *     that they hold, from 0 to 1.
 */
export function principalComponents(numbers, size) {
  const vectors = Array.from({ length: numbers.length / size }, (_, i) => numbers.slice(i * size, (i + 1) * size));
  const mean = vectors[0].map((_, j) => vectors.reduce((sum, vector) => sum + vector[j], 0) / vectors.length);
  const centered = vectors.map((vector) => vector.map((x, j) => x - mean[j]));
  const step = Math.ceil(centered.length / MOST_FOR_AXES);
  let left = centered.filter((_, i) => i % step === 0);
  const spread = (some) => some.reduce((sum, vector) => sum + dot(vector, vector), 0);
  const total = spread(left);
  const axes = [];
  for (let k = 0; k < 2; k++) {
    const axis = strongestDirection(left, size);
    axes.push(axis);
    left = left.map((vector) => add(vector.slice(), axis, -dot(vector, axis)));
  }
  const points = centered.map((vector) => axes.map((axis) => dot(vector, axis)));
  return { points, share: total > 0 ? 1 - spread(left) / total : 1 };
}

/** Return the direction in which vectors differ most, by power iteration. */
function strongestDirection(vectors, size) {
  // WHY unequal numbers: a start at a right angle to the answer would never turn toward it.
  let direction = Float64Array.from({ length: size }, (_, j) => 1 / (j + 1.5));
  for (let round = 0; round < MOST_ROUNDS; round++) {
    const next = vectors.reduce((sum, vector) => add(sum, vector, dot(vector, direction)), new Float64Array(size));
    const length = Math.sqrt(dot(next, next));
    if (length < 1e-150) {
      return new Float64Array(size);
    }
    direction = next.map((x) => x / length);
  }
  // WHY: both signs are right; always taking the same one keeps the picture the same.
  const largest = direction.reduce((best, x) => (Math.abs(x) > Math.abs(best) ? x : best), 0);
  return largest < 0 ? direction.map((x) => -x) : direction;
}

function dot(a, b) {
  let sum = 0;
  for (let j = 0; j < a.length; j++) {
    sum += a[j] * b[j];
  }
  return sum;
}

/** Add factor times b to a, and return a. */
function add(a, b, factor) {
  for (let j = 0; j < a.length; j++) {
    a[j] += factor * b[j];
  }
  return a;
}

/**
 * Return the vectors whose directions are closest to that of one of them.
 *
 * @param {ArrayLike<number>} numbers - Row by row, `size` numbers per vector.
 * @param {number} size
 * @param {number} chosen - The index of the vector.
 * @param {number} k - The most to return.
 * @returns {{place: number, cosine: number}[]} Nearest first; none for a zero vector, which has no direction.
 */
export function nearestByCosine(numbers, size, chosen, k) {
  const vector = (place) => numbers.subarray(place * size, (place + 1) * size);
  const length = (place) => Math.sqrt(dot(vector(place), vector(place)));
  const near = [];
  for (let place = 0; place < numbers.length / size; place++) {
    const lengths = length(place) * length(chosen);
    if (place !== chosen && lengths > 0) {
      near.push({ place, cosine: dot(vector(place), vector(chosen)) / lengths });
    }
  }
  return near.sort((a, b) => b.cosine - a.cosine || a.place - b.place).slice(0, k);
}
