/**
 * Other people's WebGPU code on the same adapter, on the same problems. What is not installed is a line under the table.
 * onnxruntime-node brings a Dawn of its own, which finds the adapter by VK_ICD_FILENAMES; the others take navigator.gpu.
 */
import { existsSync, readFileSync } from 'node:fs';
import { createRequire, registerHooks } from 'node:module';
import { resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { FfnData } from '../data.ts';
import { swigluModel, transpose } from '../onnx.ts';
import type { Chain } from './chain.ts';

/** One way of doing a table's work. */
export interface Contender {
  chain: Chain;
  /** The result of one block without its residual, where the table compares results. */
  result?(): Promise<Float32Array>;
  release(): unknown;
}

export type OrtName = 'ort-web' | 'ort-node';
export const ORT_NAMES: readonly OrtName[] = ['ort-web', 'ort-node'];
export type Feeds = Readonly<Record<string, readonly [data: Float32Array, shape: readonly number[]]>>;

interface OrtTensor {
  data: unknown;
}
interface OrtSession {
  run(feeds: Record<string, OrtTensor>): Promise<Record<string, OrtTensor>>;
  release(): Promise<void>;
}
export interface Ort {
  env: { wasm: { numThreads: number; wasmBinary?: Uint8Array }; logLevel: string };
  Tensor: new (type: string, data: Float32Array, shape: readonly number[]) => OrtTensor;
  InferenceSession: { create(model: Uint8Array, options: object): Promise<OrtSession> };
}

interface TfTensor {
  data(): Promise<Float32Array>;
  dispose(): void;
}
interface Tensorflow {
  setBackend(name: string): Promise<boolean>;
  ready(): Promise<void>;
  tensor2d(data: Float32Array, shape: readonly [number, number]): TfTensor;
  matMul(a: TfTensor, b: TfTensor): TfTensor;
  add(a: TfTensor, b: TfTensor): TfTensor;
  mul(a: TfTensor, b: TfTensor): TfTensor;
  sigmoid(a: TfTensor): TfTensor;
  tidy<T>(work: () => T): T;
}

/** An array of jax-js. Whoever takes one uses it up; `ref` is one more to take. */
interface JaxArray {
  readonly ref: JaxArray;
  add(other: JaxArray): JaxArray;
  mul(other: JaxArray): JaxArray;
  reshape(shape: readonly number[]): JaxArray;
  data(): Promise<Float32Array>;
  dispose(): void;
}
interface Jax {
  init(device: string): Promise<readonly string[]>;
  defaultDevice(device: string): unknown;
  numpy: { array(data: Float32Array): JaxArray; matmul(a: JaxArray, b: JaxArray): JaxArray };
  nn: { silu(x: JaxArray): JaxArray };
  jit(work: (...args: JaxArray[]) => JaxArray): (...args: JaxArray[]) => JaxArray;
}

/** Packages that `--peers` may name a folder for. */
const OPTIONAL = ['onnxruntime-node', 'onnxruntime-web', '@tensorflow/tfjs-core', '@tensorflow/tfjs-backend-webgpu', '@jax-js/jax'];

/** From here on these packages come from the node_modules of `folder`, where it has them. */
export function takePeersFrom(folder: string): void {
  const parentURL = pathToFileURL(resolve(folder, 'peers.js')).href;
  const there = OPTIONAL.filter((name) => existsSync(resolve(folder, 'node_modules', name)));
  registerHooks({
    resolve(specifier, context, next) {
      const isPeer = there.some((name) => specifier === name || specifier.startsWith(`${name}/`));
      return next(specifier, isPeer && !context.parentURL?.includes('/node_modules/') ? { ...context, parentURL } : context);
    },
  });
}

export async function loadOrt(name: OrtName): Promise<Ort> {
  const module = await import(name === 'ort-web' ? 'onnxruntime-web/webgpu' : 'onnxruntime-node');
  const ort: Ort = name === 'ort-web' ? module : (module.default ?? module);
  ort.env.logLevel = 'error';
  if (name === 'ort-web') {
    ort.env.wasm.numThreads = 1;
    ort.env.wasm.wasmBinary = readFileSync(createRequire(import.meta.url).resolve('onnxruntime-web/ort-wasm-simd-threaded.asyncify.wasm'));
  }
  return ort;
}

export const ORT_OPTIONS = { executionProviders: ['webgpu'], graphOptimizationLevel: 'all', logSeverityLevel: 3 } as const;

export class Peers {
  readonly #loaded = new Map<string, Promise<unknown>>();

  /** Chains of a model, with result `y`. undefined, and a word to `skip`, when it is not installed or refuses the model. */
  async ort(
    name: OrtName,
    build: (blocks: number) => Uint8Array,
    feeds: Feeds,
    skip: (reason: string) => void,
    plain?: () => Uint8Array,
  ): Promise<Contender | undefined> {
    return this.#attempt(name, skip, async () => {
      const ort = (await this.#once(name, () => loadOrt(name))) as Ort;
      const tensors = Object.fromEntries(
        Object.entries(feeds).map(([key, [data, shape]]) => [key, new ort.Tensor('float32', data, shape)]),
      );
      const run = async (session: OrtSession) => (await session.run(tensors)).y!.data as Float32Array;
      const sessions = new Map<number, OrtSession>();
      const chain = async (blocks: number) => {
        const session = sessions.get(blocks) ?? (await ort.InferenceSession.create(build(blocks), ORT_OPTIONS));
        sessions.set(blocks, session);
        return run(session);
      };
      const result = async () => {
        const session = await ort.InferenceSession.create(plain!(), ORT_OPTIONS);
        const y = (await run(session)).slice();
        await session.release();
        return y;
      };
      await chain(1);
      return { chain, result: plain && result, release: () => Promise.all([...sessions.values()].map((each) => each.release())) };
    });
  }

  async ortFfn(name: OrtName, data: FfnData, build: (blocks: number) => Uint8Array, skip: (reason: string) => void) {
    const { tokens, hidden, inner } = data;
    return this.ort(name, build, { x: [data.input, [tokens, hidden]] }, skip, () => swigluModel('f32', hidden, inner, data));
  }

  async tensorflowFfn(data: FfnData, skip: (reason: string) => void): Promise<Contender | undefined> {
    return this.#attempt('tfjs', skip, async () => {
      const tf = (await this.#once('tfjs', loadTensorflow)) as Tensorflow;
      const { tokens, hidden, inner } = data;
      // [in, out]: a transposed operand would take its slow path
      const [x, gate, up, down] = [
        tf.tensor2d(data.input, [tokens, hidden]),
        tf.tensor2d(transpose(data.gate, inner, hidden), [hidden, inner]),
        tf.tensor2d(transpose(data.up, inner, hidden), [hidden, inner]),
        tf.tensor2d(transpose(data.down, hidden, inner), [inner, hidden]),
      ];
      const ffn = (from: TfTensor) => {
        const g = tf.matMul(from, gate);
        return tf.matMul(tf.mul(tf.mul(g, tf.sigmoid(g)), tf.matMul(from, up)), down);
      };
      const read = async (tensor: TfTensor) => {
        const values = await tensor.data();
        tensor.dispose();
        return values;
      };
      const chain = (blocks: number) => {
        let y = x;
        for (let i = 0; i < blocks; i++) {
          const from = y;
          y = tf.tidy(() => tf.add(from, ffn(from)));
          if (from !== x) from.dispose();
        }
        return read(y);
      };
      await chain(1);
      const release = () => {
        for (const tensor of [x, gate, up, down]) tensor.dispose();
      };
      return { chain, result: () => read(tf.tidy(() => ffn(x))), release };
    });
  }

  async jaxFfn(data: FfnData, skip: (reason: string) => void): Promise<Contender | undefined> {
    return this.#attempt('jax-js', skip, async () => {
      const { jit, nn, numpy } = (await this.#once('jax-js', loadJax)) as Jax;
      const { tokens, hidden, inner } = data;
      const matrix = (values: Float32Array, rows: number, columns: number) => numpy.array(values).reshape([rows, columns]);
      const x = matrix(data.input, tokens, hidden);
      const weights = [
        matrix(transpose(data.gate, inner, hidden), hidden, inner),
        matrix(transpose(data.up, inner, hidden), hidden, inner),
        matrix(transpose(data.down, hidden, inner), inner, hidden),
      ] as const;
      const ffn = (from: JaxArray, gate: JaxArray, up: JaxArray, down: JaxArray) =>
        numpy.matmul(nn.silu(numpy.matmul(from.ref, gate)).mul(numpy.matmul(from, up)), down);
      const block = jit((from, gate, up, down) => from.ref.add(ffn(from, gate!, up!, down!)));
      const alone = jit(ffn as (...args: JaxArray[]) => JaxArray);
      const given = () => weights.map((weight) => weight.ref);
      const chain = (blocks: number) => {
        let y = x.ref;
        for (let i = 0; i < blocks; i++) y = block(y, ...given());
        return y.data();
      };
      await chain(1);
      const release = () => {
        for (const array of [x, ...weights]) array.dispose();
      };
      return { chain, result: () => alone(x.ref, ...given()).data(), release };
    });
  }

  async #attempt(name: string, skip: (reason: string) => void, make: () => Promise<Contender>): Promise<Contender | undefined> {
    try {
      return await make();
    } catch (error) {
      skip(`${name}: ${reasonOf(error)}`);
      return undefined;
    }
  }

  #once(name: string, load: () => Promise<unknown>): Promise<unknown> {
    const loading = this.#loaded.get(name) ?? load();
    this.#loaded.set(name, loading);
    return loading;
  }
}

async function loadTensorflow(): Promise<Tensorflow> {
  const [core, backend] = ['@tensorflow/tfjs-core', '@tensorflow/tfjs-backend-webgpu'];
  const tf: Tensorflow = await import(core);
  await import(backend);
  if (!(await tf.setBackend('webgpu'))) throw new Error('its webgpu backend did not start');
  await tf.ready();
  return tf;
}

async function loadJax(): Promise<Jax> {
  const name = '@jax-js/jax';
  const jax: Jax = await import(name);
  const devices = await jax.init('webgpu');
  if (!devices.includes('webgpu')) throw new Error(`its webgpu device did not start, only ${devices.join(', ')}`);
  jax.defaultDevice('webgpu');
  return jax;
}

function reasonOf(error: unknown): string {
  const { code, message } = error as { code?: string; message?: string };
  if (code === 'ERR_MODULE_NOT_FOUND' || code === 'MODULE_NOT_FOUND') return 'not installed';
  return String(message ?? error)
    .split('\n')[0]!
    .slice(0, 160);
}
