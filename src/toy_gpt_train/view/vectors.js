// vectors.js - Many vectors seen in two dimensions, and which of them point the same way.
//
// Concepts:
//     principal component: the direction in which vectors differ most; the second one, at a right angle to it, is the
//         direction in which they differ most of what is left.
//     cosine: 1 where two vectors point the same way, 0 at a right angle, -1 where they point opposite ways.
//
// It knows nothing of tokens or the page.

// WHY: the directions of thousands of vectors are those of a sample of them, and somebody is waiting.
const MOST_FOR_AXES = 1000;
const MOST_ROUNDS = 100;

/**
 * Project vectors onto their first two principal components.
 *
 * Source: Pearson (1901), "On lines and planes of closest fit to systems of points in space".
 *
 * @param {ArrayLike<number>} numbers - Row by row, `size` a vector.
 * @param {number} size
 * @returns {{points: [number, number][], share: number}} Two numbers for each vector, and how much of all their
 *     differences (of the variance) the two hold, from 0 to 1.
 */
export function principalComponents(numbers, size) {
  const vectors = Array.from({ length: numbers.length / size }, (_, i) => numbers.slice(i * size, (i + 1) * size));
  const mean = vectors[0].map((_, j) => vectors.reduce((sum, vector) => sum + vector[j], 0) / vectors.length);
  const centred = vectors.map((vector) => vector.map((x, j) => x - mean[j]));
  const step = Math.ceil(centred.length / MOST_FOR_AXES);
  let left = centred.filter((_, i) => i % step === 0);
  const spread = (some) => some.reduce((sum, vector) => sum + dot(vector, vector), 0);
  const total = spread(left);
  const axes = [];
  for (let k = 0; k < 2; k++) {
    const axis = strongestDirection(left, size);
    axes.push(axis);
    left = left.map((vector) => add(vector.slice(), axis, -dot(vector, axis)));
  }
  const points = centred.map((vector) => axes.map((axis) => dot(vector, axis)));
  return { points, share: total > 0 ? 1 - spread(left) / total : 1 };
}

/** Return the direction in which vectors differ most, by turning a direction towards it (power iteration). */
function strongestDirection(vectors, size) {
  // WHY unequal numbers: a beginning at a right angle to the answer would never turn towards it.
  let direction = Float64Array.from({ length: size }, (_, j) => 1 / (j + 1.5));
  for (let round = 0; round < MOST_ROUNDS; round++) {
    const next = vectors.reduce((sum, vector) => add(sum, vector, dot(vector, direction)), new Float64Array(size));
    const length = Math.sqrt(dot(next, next));
    if (length < 1e-150) {
      return new Float64Array(size);
    }
    direction = next.map((x) => x / length);
  }
  // WHY: both signs are right; one of them is always taken, so that the picture is always the same.
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
 * Return the vectors that point most nearly the same way as one of them.
 *
 * @param {ArrayLike<number>} numbers - Row by row, `size` a vector.
 * @param {number} size
 * @param {number} chosen - The place of the vector.
 * @param {number} k - How many at most.
 * @returns {{place: number, cosine: number}[]} Nearest first; none where the vector is zero, which points nowhere.
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
