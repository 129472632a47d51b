/** Blocks in plain loops and double precision, a row at a time: what the stack is compared with. Written from BlockSpec, not from the stack. */
import type { BlockSpec } from '../../src/model/stack/block.ts';
import { ACTIVATION_FUNCTIONS } from '../../src/ops/activation.ts';

export interface PlainRow {
  x: number[];
  order: number;
}

export type Tensors = (name: string, shape: readonly number[]) => Float32Array;

/** What attention saw: of every row its queries and keys by head, and the probabilities [heads][keys] that it gave. */
export interface PlainSeen {
  q: number[][];
  k: number[][];
  probabilities: number[][][];
}

export class PlainStack {
  readonly blocks: readonly BlockSpec[];
  /** Rotated keys, values and orders of every block. */
  readonly cache: { k: number[][]; v: number[][]; order: number[] }[];
  readonly #tensors: Tensors;

  constructor(blocks: readonly BlockSpec[], tensors: Tensors) {
    this.blocks = blocks;
    this.#tensors = tensors;
    this.cache = blocks.map(() => ({ k: [], v: [], order: [] }));
  }

  /** x += o(attention(norm1(x))) of all rows, which enter the cache of the block; `bias` by key. */
  attend(layer: number, rows: readonly PlainRow[], bias: readonly number[] = []): PlainSeen {
    const spec = this.blocks[layer]!;
    const { heads, kvHeads, headDim, names } = spec;
    const held = this.cache[layer]!;
    const normed = rows.map(({ x }) => this.#norm(spec, names.norm1, x));
    const rotated = (name: string, count: number) =>
      normed.map((x, i) => rotate(spec, this.#product(name, count * headDim, x), rows[i]!.order));
    const [q, k] = [rotated(names.q, heads), rotated(names.k, kvHeads)];
    const v = normed.map((x) => this.#product(names.v, kvHeads * headDim, x));
    held.k.push(...k);
    held.v.push(...v);
    held.order.push(...rows.map(({ order }) => order));
    const probabilities = rows.map((row, i) => {
      const ofHeads = Array.from({ length: heads }, (_, h) => {
        const kv = Math.floor(h / (heads / kvHeads)) * headDim;
        const logits = held.k.map((key, s) => {
          if (spec.causal && held.order[s]! > row.order) return Number.NEGATIVE_INFINITY;
          return dot(q[i]!.slice(h * headDim, (h + 1) * headDim), key.slice(kv, kv + headDim)) / Math.sqrt(headDim) + (bias[s] ?? 0);
        });
        return softmax(logits);
      });
      const mixed = ofHeads.flatMap((weights, h) => {
        const kv = Math.floor(h / (heads / kvHeads)) * headDim;
        return Array.from({ length: headDim }, (_, c) => weights.reduce((sum, weight, s) => sum + weight * held.v[s]![kv + c]!, 0));
      });
      const output = this.#product(names.o, spec.width, mixed);
      row.x = row.x.map((value, d) => value + output[d]!);
      return ofHeads;
    });
    return { q, k, probabilities };
  }

  /** x += FFN(norm2(x)) */
  ffn(layer: number, rows: readonly PlainRow[]): void {
    const spec = this.blocks[layer]!;
    const { names, inner } = spec;
    for (const row of rows) {
      const h = this.#norm(spec, names.norm2, row.x);
      const up = this.#product(names.up, inner, h);
      const hidden = names.gate
        ? this.#product(names.gate, inner, h).map((gate, m) => ACTIVATION_FUNCTIONS[spec.activation](gate) * up[m]!)
        : up.map((value) => ACTIVATION_FUNCTIONS[spec.activation](value));
      const down = this.#product(names.down, spec.width, hidden);
      row.x = row.x.map((value, d) => value + down[d]!);
    }
  }

  /** The RMSNorm behind the last block. */
  finish(row: PlainRow, name: string, eps: number): number[] {
    return this.#norm({ ...this.blocks[0]!, norm: 'rms', eps }, name, row.x);
  }

  #norm({ norm, eps }: BlockSpec, name: string, x: readonly number[]): number[] {
    const mean = norm === 'layer' ? x.reduce((a, b) => a + b) / x.length : 0;
    const variance = x.reduce((sum, value) => sum + (value - mean) ** 2, 0) / x.length;
    const weight = this.#tensors(`${name}.weight`, [x.length]);
    const bias = norm === 'layer' ? this.#tensors(`${name}.bias`, [x.length]) : undefined;
    return x.map((value, d) => ((value - mean) / Math.sqrt(variance + eps)) * weight[d]! + (bias?.[d] ?? 0));
  }

  #product(name: string, N: number, x: readonly number[]): number[] {
    const weight = this.#tensors(`${name}.weight`, [N, x.length]);
    return Array.from({ length: N }, (_, n) => x.reduce((sum, value, k) => sum + value * weight[n * x.length + k]!, 0));
  }
}

/** Pairs (c, c + dh/2) of every head by the angle order * theta^(-2c/dh). */
function rotate({ rope, headDim }: BlockSpec, x: readonly number[], order: number): number[] {
  if (!rope) return [...x];
  return x.map((value, i) => {
    const [c, half] = [i % headDim, headDim / 2];
    const angle = order * rope.theta ** ((-2 * (c % half)) / headDim);
    const partner = c < half ? -x[i + half]! : x[i - half]!;
    return value * Math.cos(angle) + partner * Math.sin(angle);
  });
}

function dot(a: readonly number[], b: readonly number[]): number {
  return a.reduce((sum, value, i) => sum + value * b[i]!, 0);
}

function softmax(logits: readonly number[]): number[] {
  const peak = Math.max(...logits);
  const weights = logits.map((value) => Math.exp(value - peak));
  const total = weights.reduce((a, b) => a + b);
  return weights.map((weight) => weight / total);
}
