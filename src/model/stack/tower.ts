import type { Tensor } from '../../backend/tensor.ts';
import type { Weight } from '../../backend/weight.ts';
import { layerNorm } from '../../ops/layer-norm.ts';
import { patchEmbedding } from '../../ops/patch-embedding.ts';
import { type Block, loadBlock, type Norm } from './block.ts';
import type { Hooks } from './hooks.ts';
import type { Loader } from './loader.ts';
import { Pass } from './pass.ts';
import { range, type Segment, type Stream } from './rows.ts';
import { patchesOf, type TowerSpec } from './tower-spec.ts';
import type { Work } from './work.ts';

interface InputLayer {
  weight: Weight;
  bias?: Tensor<'f32'>;
  classEmbedding?: Tensor<'f32'>;
  positionEmbedding: Tensor<'f32'>;
  norm?: Norm;
}

export class Tower {
  readonly spec: TowerSpec;
  readonly #input: InputLayer;
  readonly #blocks: readonly Block[];

  private constructor(spec: TowerSpec, input: InputLayer, blocks: readonly Block[]) {
    this.spec = spec;
    this.#input = input;
    this.#blocks = blocks;
  }

  /** Its tensors are freed with the loader. @internal */
  static async load(loader: Loader, spec: TowerSpec): Promise<Tower> {
    const input = await loadInput(loader, spec);
    const blocks: Block[] = [];
    for (const block of spec.blocks) blocks.push(await loadBlock(loader, block));
    return new Tower(spec, input, blocks);
  }

  /** pixels [channels, size, size], normalised -> rows of the last block, the class row first. The caller frees x. */
  async encode(work: Work, pixels: Tensor<'f32'>, hooks?: Hooks): Promise<Stream> {
    const { spec } = this;
    const { norm, ...io } = this.#input;
    const first = io.classEmbedding ? 1 : 0;
    const length = first + patchesOf(spec);
    const shape = [length, spec.width];
    const x = work.produce(shape, (y) => {
      using embedded = norm && work.backend.empty({ dtype: 'f32', shape });
      work.run(patchEmbedding, { pixels, ...io, y: embedded ?? y }, { patchSize: spec.patchSize });
      if (embedded) work.run(layerNorm, { x: embedded, ...norm!, y }, { eps: spec.eps });
    });
    const segments: Segment[] = [
      { kind: 'class', start: 0, end: first },
      { kind: 'image', start: first, end: length },
    ];
    const pass = new Pass(work, { x, rows: { order: range(0, length), segments: segments.slice(1 - first) } }, { hooks });
    try {
      await pass.run(this.#blocks);
      return pass.release();
    } catch (error) {
      pass[Symbol.dispose]();
      throw error;
    }
  }
}

async function loadInput(loader: Loader, { width: D, channels, patchSize, names, ...spec }: TowerSpec): Promise<InputLayer> {
  const { classRow, preNorm } = names;
  const kernel = loader.source.tensor(`${names.patches}.weight`, [D, channels, patchSize, patchSize]);
  const rows = (classRow === undefined ? 0 : 1) + (spec.imageSize / patchSize) ** 2;
  return {
    weight: await loader.pack({ data: kernel, shape: [D, channels * patchSize ** 2] }, 'f32'),
    bias: loader.optionalVector(`${names.patches}.bias`, [D]),
    classEmbedding: classRow === undefined ? undefined : loader.vector(classRow, [D]),
    positionEmbedding: loader.vector(`${names.positions}.weight`, [rows, D]),
    norm: preNorm === undefined ? undefined : loader.norm(preNorm, D),
  };
}
