/** What the tests of `generate` share: the bundled toy models, self-trained on synthetic scenes, and a picture, on a backend. */
import { afterAll, beforeAll, describe, expect } from 'vitest';
import type { Backend } from '../../src/backend/backend.ts';
import type { ErrorCode } from '../../src/backend/errors.ts';
import { createReferenceBackend } from '../../src/backend/reference/driver.ts';
import { createWasmBackend } from '../../src/backend/wasm/driver.ts';
import { methodByName } from '../../src/methods/index.ts';
import { loadModel } from '../../src/model/load.ts';
import type { Method, Run } from '../../src/model/stack/hooks.ts';
import type { KvCache } from '../../src/model/stack/kv-cache.ts';
import { assemble, type Part, type Stream } from '../../src/model/stack/rows.ts';
import { Work } from '../../src/model/stack/work.ts';
import type { EncodedImage } from '../../src/model/engine.ts';
import type { Vlm } from '../../src/model/vlm.ts';

export const PICTURES = 'examples/tiny-vlm/eval';
export const DESCRIBE = { question: 'describe', answer: 'top left : cat , bottom left : lion , bottom right : umbrella' };
export const WHAT = { question: 'what is at the bottom left ?', answer: 'lion' };
export const COMMA = 8;
export const EOS = 2;

export function refusal(code: ErrorCode, argument?: string): object {
  return expect.objectContaining(argument === undefined ? { code } : { code, argument });
}

const BACKENDS: readonly (readonly [name: string, make: () => Backend | Promise<Backend>])[] = [
  ['reference', () => createReferenceBackend()],
  ['wasm', () => createWasmBackend()],
];

/** Registers the tests for every backend; the scene is set before the first of them runs. */
export function describeGenerate(register: (scene: Scene) => void): void {
  describe.each(BACKENDS)('generate on %s', (_name, makeBackend) => {
    const scene = new Scene();
    beforeAll(async () => scene.open(await makeBackend()));
    afterAll(() => scene.close());
    register(scene);
  });
}

export class Scene {
  backend!: Backend;
  /** The checkpoint trained with Skip-Vision, and the one trained without. */
  model!: Vlm;
  full!: Vlm;
  trained!: Method;
  /** 000.png for the trained method, and for none (by the checkpoint trained without skipping). */
  picture!: EncodedImage;
  plainPicture!: EncodedImage;

  async open(backend: Backend): Promise<void> {
    this.backend = backend;
    this.model = await loadModel('examples/tiny-vlm/skip', { backend });
    this.full = await loadModel('examples/tiny-vlm/full', { backend });
    this.trained = methodByName('skip-vision', this.model.config);
    this.picture = await this.model.encodeImage(`${PICTURES}/000.png`, { method: this.trained });
    this.plainPicture = await this.full.encodeImage(`${PICTURES}/000.png`);
  }

  async close(): Promise<void> {
    for (const made of [this.picture, this.plainPicture, this.model, this.full]) made[Symbol.dispose]();
    expect(this.backend.memory()).toMatchObject({ tensors: 0, weights: 0 });
    await this.backend[Symbol.asyncDispose]();
  }

  /** Bytes of keys and values of so many rows in all layers. */
  rowBytes(rows: number): number {
    return this.model.config.decoder.blocks.reduce((sum, { kvHeads, headDim }) => sum + rows * 2 * kvHeads * headDim * 4, 0);
  }

  makeCache(capacity: number): KvCache {
    return this.model.decoder.makeCache({ capacity });
  }

  startRun(method: Method): Promise<Run> {
    return method.start(this.model.room(new Work(this.backend)));
  }

  /** The prompt as `generate` composes it. */
  compose(prompt: string, images: readonly EncodedImage[]): Stream {
    const { config, tokenizer } = this.model;
    const parts: Part[] = [];
    const waiting = [...images];
    for (const id of tokenizer.encode(prompt)) {
      if (id === config.imageTokenId) parts.push(...waiting.shift()!.parts);
      else parts.push({ kind: 'text', rows: this.model.embed([id]) });
    }
    const stream = assemble(new Work(this.backend), parts, config.decoder.width);
    for (const { kind, rows } of parts) if (kind === 'text') rows.dispose();
    return stream;
  }

  promptOf(question: string): string {
    return this.model.config.promptTemplate.replace('{question}', question);
  }
}
