import type { IoOf } from '../../backend/op.ts';
import type { Tensor } from '../../backend/tensor.ts';
import type { Activation } from '../../ops/activation.ts';
import type { gatheredFfn } from '../../ops/gathered-ffn.ts';
import type { Loader, Projection } from './loader.ts';

/** Sizes and arithmetic of one block, and where its tensors are found. Blocks of one stack may differ in all but their width. */
export interface BlockSpec {
  /** Hidden size D. */
  width: number;
  heads: number;
  /** A divisor of `heads`. */
  kvHeads: number;
  /** heads * headDim need not equal the width. */
  headDim: number;
  /** Intermediate size M of the FFN. */
  inner: number;
  norm: 'rms' | 'layer';
  eps: number;
  activation: Activation;
  /** FFN(h) = down(act(gate(h)) * up(h)) instead of down(act(up(h))). */
  gated: boolean;
  /** Rows see those before them only. */
  causal: boolean;
  rope?: RopeSpec;
  names: BlockNames;
}

export interface RopeSpec {
  theta: number;
  layout: 'neox' | 'interleaved';
}

/** Names of tensors without `.weight` and `.bias`. Biases are taken where the checkpoint has them. */
export interface BlockNames {
  norm1: string;
  q: string;
  k: string;
  v: string;
  o: string;
  norm2: string;
  /** Of a gated FFN. */
  gate?: string;
  up: string;
  down: string;
}

export interface Norm {
  weight: Tensor<'f32'>;
  bias?: Tensor<'f32'>;
}

/** A block on a backend: x += o(attention(norm1(x))), then x += FFN(norm2(x)). */
export interface Block {
  readonly spec: BlockSpec;
  readonly norm1: Norm;
  readonly q: Projection;
  /** Keys, then values, as one; of blocks with RoPE, which takes them apart. */
  readonly kv?: Projection;
  readonly k?: Projection;
  readonly v?: Projection;
  readonly o: Projection;
  readonly ffn: Omit<IoOf<typeof gatheredFfn>, 'x' | 'rows'>;
}

export async function loadBlock(loader: Loader, spec: BlockSpec): Promise<Block> {
  const { width: D, heads, kvHeads, headDim, inner: M, names } = spec;
  const [qWidth, kvWidth] = [heads * headDim, kvHeads * headDim];
  const attention = {
    norm1: loader.norm(names.norm1, D, spec.norm),
    q: await loader.projection(names.q, qWidth, D),
    ...(spec.rope
      ? { kv: await loader.stacked([names.k, names.v], kvWidth, D) }
      : { k: await loader.projection(names.k, kvWidth, D), v: await loader.projection(names.v, kvWidth, D) }),
    o: await loader.projection(names.o, D, qWidth),
  };
  const { gate } = names;
  const { weight: normWeight, bias: normBias } = loader.norm(names.norm2, D, spec.norm);
  const up = await loader.weight(`${names.up}.weight`, M, D, gate && `${gate}.weight`);
  const gateBias = gate === undefined ? undefined : loader.optionalVector(`${gate}.bias`, [M]);
  const upBias = loader.optionalVector(`${names.up}.bias`, [M]);
  const { weight: down, bias: downBias } = await loader.projection(names.down, D, M);
  return { spec, ...attention, ffn: { normWeight, normBias, up, gateBias, upBias, down, downBias } };
}
