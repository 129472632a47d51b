/**
 * The file of a worker thread: `dist/worker.js`, in one piece, so that a host may serve it from where it likes (`workerUrl`).
 * The first message brings the kernels and the shared memory; after that the worker takes its work from memory alone.
 */
import { controlOf, kernelsOf, serve } from './control.ts';

/** Sent by pool.ts. */
export interface Hire {
  module: WebAssembly.Module;
  memory: WebAssembly.Memory;
  /** Address of the control block. */
  control: number;
  thread: number;
}

/** What the worker answers: that it is ready, or why it cannot be. */
export interface Answer {
  refusal?: string;
}

interface Port {
  postMessage(message: Answer): void;
  addEventListener?(type: 'message', listener: (event: { data: Hire }) => void): void;
  once?(type: 'message', listener: (message: Hire) => void): void;
}
interface NodeProcess {
  getBuiltinModule?(name: 'node:worker_threads'): { parentPort: Port | null };
}

function start(port: Port, { module, memory, control, thread }: Hire): void {
  let instance: WebAssembly.Instance;
  try {
    instance = new WebAssembly.Instance(module, { env: { memory } });
  } catch (error) {
    port.postMessage({ refusal: String(error) });
    return;
  }
  port.postMessage({});
  serve(controlOf(memory, control), kernelsOf(instance.exports)[1], thread);
}

const host = globalThis as unknown as Port & { process?: NodeProcess };
const nodePort = typeof host.postMessage === 'function' ? null : host.process?.getBuiltinModule?.('node:worker_threads').parentPort;
if (nodePort) nodePort.once!('message', (hire) => start(nodePort, hire));
else host.addEventListener!('message', ({ data }) => start(host, data));
