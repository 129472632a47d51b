import type { Tensor } from '../../backend/tensor.ts';
import { layerNorm } from '../../ops/layer-norm.ts';
import { patchEmbedding } from '../../ops/patch-embedding.ts';
import { type Block, loadBlock } from './block.ts';
import type { Hooks } from './hooks.ts';
import type { Loader } from './loader.ts';
import { Pass } from './pass.ts';
import { range, type Segment, type Stream } from './rows.ts';
import { patchesOf, type TowerSpec } from './tower-spec.ts';
import type { Work } from './work.ts';

export interface Tower {
  readonly spec: TowerSpec;
  /** pixels [channels, size, size], normalised -> rows of the last block, the class row first. The caller frees x. */
  encode(work: Work, pixels: Tensor<'f32'>, hooks?: Hooks): Promise<Stream>;
}

/** Its tensors are freed with the loader. */
export async function loadTower(loader: Loader, spec: TowerSpec): Promise<Tower> {
  const { width: D, channels, patchSize, eps } = spec;
  const { patches, positions, classRow, preNorm } = spec.names;
  const first = classRow === undefined ? 0 : 1;
  const length = first + patchesOf(spec);
  const kernel = loader.source.tensor(`${patches}.weight`, [D, channels, patchSize, patchSize]);
  const input = {
    weight: await loader.pack({ data: kernel, shape: [D, channels * patchSize ** 2] }, 'f32'),
    bias: loader.optionalVector(`${patches}.bias`, [D]),
    classEmbedding: classRow === undefined ? undefined : loader.vector(classRow, [D]),
    positionEmbedding: loader.vector(`${positions}.weight`, [length, D]),
  };
  const norm = preNorm === undefined ? undefined : loader.norm(preNorm, D);
  const blocks: Block[] = [];
  for (const block of spec.blocks) blocks.push(await loadBlock(loader, block));
  const segments: Segment[] = [
    { kind: 'class', start: 0, end: first },
    { kind: 'image', start: first, end: length },
  ];
  return {
    spec,
    async encode(work, pixels, hooks) {
      const shape = [length, D];
      const x = work.produce(shape, (y) => {
        using embedded = norm && work.backend.empty({ dtype: 'f32', shape });
        work.run(patchEmbedding, { pixels, ...input, y: embedded ?? y }, { patchSize });
        if (embedded) work.run(layerNorm, { x: embedded, ...norm!, y }, { eps });
      });
      using pass = new Pass(work, { x, rows: { order: range(0, length), segments: segments.slice(1 - first) } }, { hooks });
      await pass.run(blocks);
      return pass.release();
    },
  };
}
