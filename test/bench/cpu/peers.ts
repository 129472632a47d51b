/** Other people's work on the same problems. None of it is required: what is not installed is a line in the table. */
import type { Work } from '../measure.ts';

/** One way of doing a table's work. */
export interface Contender {
  call: Work;
  /** The result of one call, for comparison. */
  result(): Promise<Float32Array>;
  release(): unknown;
}

interface OrtTensor {
  data: unknown;
}
interface OrtSession {
  run(feeds: Record<string, OrtTensor>): Promise<Record<string, OrtTensor>>;
  release(): Promise<void>;
}
interface Ort {
  env: { wasm: { numThreads: number }; logLevel: string };
  Tensor: new (type: string, data: Float32Array, shape: readonly number[]) => OrtTensor;
  InferenceSession: { create(model: Uint8Array, options: object): Promise<OrtSession> };
}
/** The part of @tensorflow/tfjs-core in use. */
export interface Tensorflow {
  setBackend(name: string): Promise<boolean>;
  ready(): Promise<void>;
  tensor2d(data: Float32Array, shape: readonly [number, number]): TfTensor;
  matMul(a: TfTensor, b: TfTensor): TfTensor;
  mul(a: TfTensor, b: TfTensor): TfTensor;
  sigmoid(a: TfTensor): TfTensor;
  tidy<T>(work: () => T): T;
}
export interface TfTensor {
  dataSync(): Float32Array;
  dispose(): void;
}

export type OrtName = 'web' | 'web 2 threads' | 'node';
export type Feeds = Readonly<Record<string, readonly [data: Float32Array, shape: readonly number[]]>>;

export class Peers {
  readonly #loaded = new Map<string, Promise<unknown>>();

  /** The model on onnxruntime, result `y`. undefined, and a word to `skip`, when it is not installed or refuses the model. */
  async ort(name: OrtName, model: () => Uint8Array, feeds: Feeds, skip: (reason: string) => void): Promise<Contender | undefined> {
    try {
      const ort = (await this.#once(`onnxruntime-${name}`, () => loadOrt(name))) as Ort;
      const options = {
        executionProviders: [name === 'node' ? 'cpu' : 'wasm'],
        graphOptimizationLevel: 'all',
        intraOpNumThreads: name === 'web 2 threads' ? 2 : 1,
      };
      const session = await ort.InferenceSession.create(model(), options);
      const tensors = Object.fromEntries(
        Object.entries(feeds).map(([key, [data, shape]]) => [key, new ort.Tensor('float32', data, shape)]),
      );
      return {
        call: () => session.run(tensors),
        result: async () => (await session.run(tensors)).y!.data as Float32Array,
        release: () => session.release(),
      };
    } catch (error) {
      skip(`onnxruntime-${name}: ${reasonOf(error)}`);
      return undefined;
    }
  }

  async tensorflow(skip: (reason: string) => void): Promise<Tensorflow | undefined> {
    try {
      return (await this.#once('tfjs', loadTensorflow)) as Tensorflow;
    } catch (error) {
      skip(`tfjs wasm: ${reasonOf(error)}`);
      return undefined;
    }
  }

  #once(name: string, load: () => Promise<unknown>): Promise<unknown> {
    const loading = this.#loaded.get(name) ?? load();
    this.#loaded.set(name, loading);
    return loading;
  }
}

async function loadOrt(name: OrtName): Promise<Ort> {
  // a thread count is for good: another one needs another build of the module
  const module = await import({ web: 'onnxruntime-web/wasm', 'web 2 threads': 'onnxruntime-web', node: 'onnxruntime-node' }[name]);
  const ort: Ort = name === 'node' ? (module.default ?? module) : module;
  ort.env.logLevel = 'error';
  if (name !== 'node') ort.env.wasm.numThreads = name === 'web 2 threads' ? 2 : 1;
  return ort;
}

async function loadTensorflow(): Promise<Tensorflow> {
  const [core, backend] = ['@tensorflow/tfjs-core', '@tensorflow/tfjs-backend-wasm'];
  const tf = await import(core);
  const wasm = await import(backend);
  wasm.setWasmPaths(new URL('./', import.meta.resolve(backend)).pathname);
  await tf.setBackend('wasm');
  await tf.ready();
  return tf;
}

function reasonOf(error: unknown): string {
  const { code, message } = error as { code?: string; message?: string };
  if (code === 'ERR_MODULE_NOT_FOUND' || code === 'MODULE_NOT_FOUND') return 'not installed';
  return String(message ?? error)
    .split('\n')[0]!
    .slice(0, 160);
}
