/** The models that onnxruntime runs in the benchmarks. FFN weights come as in a checkpoint: row-major [outputs, inputs]. */
import { type Bytes, contribNode, initializer, model, node } from './onnx-format.ts';

/** Matrices of a SwiGLU FFN: gate and up [inner, hidden], down [hidden, inner]. */
export type FfnMatrices = Readonly<Record<'gate' | 'up' | 'down', Float32Array>>;
/** f32; DynamicQuantizeLinear + MatMulInteger; MatMulNBits with 4 bits, blocks of 32 and int8 arithmetic. */
export type FfnKind = 'f32' | 'int8' | 'int4';

/** What one matrix product adds to a graph. */
interface Product {
  nodes: Bytes[];
  initializers: Bytes[];
}

/** `y = (silu(x gate^T) * (x up^T)) down^T` for x [tokens, hidden]. */
export function swigluModel(kind: FfnKind, hidden: number, inner: number, weights: FfnMatrices): Bytes {
  const product = { f32: floatProduct, int8: int8Product, int4: int4Product }[kind];
  const gate = product('x', 'gate', weights.gate, inner, hidden, 'g');
  const up = product('x', 'up', weights.up, inner, hidden, 'u');
  const down = product('h', 'down', weights.down, hidden, inner, 'y');
  const quantize = (x: string) => (kind === 'int8' ? [node('DynamicQuantizeLinear', [x], [`${x}_q`, `${x}_s`, `${x}_z`])] : []);
  const activate = [node('Sigmoid', ['g'], 's'), node('Mul', ['g', 's'], 'a'), node('Mul', ['a', 'u'], 'h')];
  return model({
    nodes: [...quantize('x'), ...gate.nodes, ...up.nodes, ...activate, ...quantize('h'), ...down.nodes],
    initializers: [gate, up, down].flatMap((each) => each.initializers),
    inputs: { x: ['tokens', hidden] },
    outputs: { y: ['tokens', hidden] },
  });
}

function floatProduct(x: string, name: string, w: Float32Array, N: number, K: number, y: string): Product {
  return { nodes: [node('MatMul', [x, name], y)], initializers: [initializer(name, [K, N], transpose(w, N, K))] };
}

/** One scale per output, symmetric, as onnxruntime's own quantize_dynamic writes it. Takes `x_q`, `x_s` and `x_z`. */
function int8Product(x: string, name: string, w: Float32Array, N: number, K: number, y: string): Product {
  const values = new Int8Array(K * N);
  const scales = new Float32Array(N);
  for (let n = 0; n < N; n++) {
    const row = w.subarray(n * K, (n + 1) * K);
    scales[n] = peakOf(row) / 127 || 1;
    for (let k = 0; k < K; k++) values[k * N + n] = Math.round(row[k]! / scales[n]!);
  }
  const nodes = [
    node('MatMulInteger', [`${x}_q`, name, `${x}_z`, `${name}_z`], `${y}_i`),
    node('Cast', [`${y}_i`], `${y}_f`, { to: 1 }),
    node('Mul', [`${x}_s`, `${name}_s`], `${y}_s`),
    node('Mul', [`${y}_f`, `${y}_s`], y),
  ];
  const initializers = [
    initializer(name, [K, N], values),
    initializer(`${name}_s`, [N], scales),
    initializer(`${name}_z`, [N], new Int8Array(N)),
  ];
  return { nodes, initializers };
}

const BLOCK = 32;

/** Blocks of 32 along K, zero at 8, two values to a byte. */
function int4Product(x: string, name: string, w: Float32Array, N: number, K: number, y: string): Product {
  const blocks = K / BLOCK;
  const packed = new Uint8Array((N * K) / 2);
  const scales = new Float32Array(N * blocks);
  for (let b = 0; b < scales.length; b++) {
    const block = w.subarray(b * BLOCK, (b + 1) * BLOCK);
    const scale = peakOf(block) / 7 || 1;
    scales[b] = scale;
    const nibble = (i: number) => Math.round(block[i]! / scale) + 8;
    for (let i = 0; i < BLOCK; i += 2) packed[(b * BLOCK + i) / 2] = nibble(i) | (nibble(i + 1) << 4);
  }
  const attributes = { K, N, bits: 4, block_size: BLOCK, accuracy_level: 4 };
  return {
    nodes: [contribNode('MatMulNBits', [x, name, `${name}_s`], y, attributes)],
    initializers: [initializer(name, [N, blocks, BLOCK / 2], packed), initializer(`${name}_s`, [scales.length], scales)],
  };
}

export interface AttentionSizes {
  tokens: number;
  heads: number;
  kvHeads: number;
  headDim: number;
}

/** Causal attention of plain operators, for q, y [tokens, kvHeads, group, headDim] and k, v [tokens, kvHeads, 1, headDim]. */
export function attentionModel({ tokens: T, heads, kvHeads, headDim }: AttentionSizes): Bytes {
  const mask = new Float32Array(T * T);
  for (let t = 0; t < T; t++) mask.fill(-1e30, t * T + t + 1, (t + 1) * T);
  const group = heads / kvHeads;
  return model({
    nodes: [
      node('Transpose', ['q'], 'qt', { perm: [1, 2, 0, 3] }),
      node('Transpose', ['k'], 'kt', { perm: [1, 2, 3, 0] }),
      node('Transpose', ['v'], 'vt', { perm: [1, 2, 0, 3] }),
      node('Mul', ['qt', 'scale'], 'qs'),
      node('MatMul', ['qs', 'kt'], 'l'),
      node('Add', ['l', 'mask'], 'm'),
      node('Softmax', ['m'], 'p', { axis: 3 }),
      node('MatMul', ['p', 'vt'], 'o'),
      node('Transpose', ['o'], 'y', { perm: [2, 0, 1, 3] }),
    ],
    initializers: [initializer('mask', [T, T], mask), initializer('scale', [1], Float32Array.of(headDim ** -0.5))],
    inputs: { q: [T, kvHeads, group, headDim], k: [T, kvHeads, 1, headDim], v: [T, kvHeads, 1, headDim] },
    outputs: { y: [T, kvHeads, group, headDim] },
  });
}

/** The same as one fused operator, for q, y [1, tokens, heads * headDim] and k, v [1, tokens, kvHeads * headDim]. */
export function fusedAttentionModel({ tokens: T, heads, kvHeads, headDim }: AttentionSizes): Bytes {
  const kv = [1, T, kvHeads * headDim];
  const present = [1, kvHeads, T, headDim];
  return model({
    nodes: [
      contribNode('GroupQueryAttention', ['q', 'k', 'v', '', '', 'last', 'total'], ['y', 'pk', 'pv'], {
        num_heads: heads,
        kv_num_heads: kvHeads,
      }),
    ],
    initializers: [initializer('last', [1], Int32Array.of(T - 1)), initializer('total', [1], Int32Array.of(T))],
    inputs: { q: [1, T, heads * headDim], k: kv, v: kv },
    outputs: { y: [1, T, heads * headDim], pk: present, pv: present },
  });
}

/** [rows, columns] -> [columns, rows] */
export function transpose(matrix: Float32Array, rows: number, columns: number): Float32Array {
  const result = new Float32Array(matrix.length);
  for (let r = 0; r < rows; r++) for (let c = 0; c < columns; c++) result[c * rows + r] = matrix[r * columns + c]!;
  return result;
}

function peakOf(values: Float32Array): number {
  let peak = 0;
  for (const value of values) peak = Math.max(peak, Math.abs(value));
  return peak;
}
