/** Compares what an op gave with what a case expects. */
import type { Array32, Arrays, ConformanceCase } from './case.ts';

export interface Comparison {
  passed: boolean;
  /** Largest error as a multiple of what is allowed; infinite for anything that is no matter of tolerance. */
  worst: number;
  /** What is wrong and where; empty when nothing is. */
  message: string;
}

export function compareOutputs(expected: ConformanceCase, actual: Arrays): Comparison {
  let result: Comparison = { passed: true, worst: 0, message: '' };
  for (const [name, want] of Object.entries(expected.outputs)) {
    const got = actual[name];
    const one = got ? compareArray(name, got, want, expected) : failure(`${name} is missing`);
    if (!one.passed && (result.passed || one.worst > result.worst)) result = one;
    else if (result.passed && one.worst > result.worst) result = one;
  }
  if (result.passed && expected.op === 'gathered_ffn') return compareUnlistedRows(expected, actual, result);
  return result;
}

function compareArray(name: string, got: Array32, want: Array32, { atol, rtol }: ConformanceCase): Comparison {
  if (got.shape.join() !== want.shape.join()) return failure(`${name} has shape [${got.shape}], expected [${want.shape}]`);
  if (got.data.constructor !== want.data.constructor)
    return failure(`${name} is a ${got.data.constructor.name}, expected ${want.data.constructor.name}`);
  if (!(want.data instanceof Float32Array) || (atol === 0 && rtol === 0)) return compareBits(name, got, want);
  let worst = 0;
  let at = -1;
  for (let i = 0; i < want.data.length; i++) {
    const [a, b] = [got.data[i]!, want.data[i]!];
    if (!Number.isFinite(a)) return failure(`${where(name, want, i)} is ${a}, expected ${b}`);
    const error = Math.abs(a - b);
    const used = error === 0 ? 0 : error / (atol + rtol * Math.abs(b));
    if (used > worst) [worst, at] = [used, i];
  }
  if (worst <= 1) return { passed: true, worst, message: '' };
  const [a, b] = [got.data[at]!, want.data[at]!];
  const used = `${worst.toPrecision(3)} times what is allowed`;
  return {
    passed: false,
    worst,
    message: `${where(name, want, at)} is ${a}, expected ${b}: error ${Math.abs(a - b).toExponential(3)}, ${used}`,
  };
}

function compareBits(name: string, got: Array32, want: Array32): Comparison {
  const bits = ({ data }: Array32) => new Uint32Array(data.buffer, data.byteOffset, data.length);
  const [a, b] = [bits(got), bits(want)];
  const at = b.findIndex((value, i) => value !== a[i]);
  if (at < 0) return { passed: true, worst: 0, message: '' };
  return failure(`${where(name, want, at)} is ${got.data[at]}, expected exactly ${want.data[at]}`);
}

/** Rows that are not listed are the input, to the bit. */
function compareUnlistedRows({ inputs }: ConformanceCase, actual: Arrays, result: Comparison): Comparison {
  const [x, y] = [inputs.x!, actual.y!];
  const listed = new Set(inputs.rows!.data);
  const width = x.shape[1]!;
  for (let row = 0; row < x.shape[0]!; row++) {
    if (listed.has(row)) continue;
    const slice = ({ data }: Array32) => ({ data: data.slice(row * width, (row + 1) * width), shape: [width] });
    const one = compareBits(`row ${row}, which is not listed, of y`, slice(y), slice(x));
    if (!one.passed) return one;
  }
  return result;
}

function failure(message: string): Comparison {
  return { passed: false, worst: Number.POSITIVE_INFINITY, message };
}

/** `hidden[3, 17]` for the flat index. */
function where(name: string, { shape }: Array32, index: number): string {
  const place = shape.map((_, axis) => {
    const below = shape.slice(axis + 1).reduce((product, extent) => product * extent, 1);
    return Math.floor(index / below) % shape[axis]!;
  });
  return `${name}[${place.join(', ')}]`;
}
