/** What the tables of the wasm backend work with. */
import type { Backend } from '../../../src/backend/backend.ts';
import type { Effort } from '../measure.ts';
import type { Build } from '../against.ts';
import type { Report, Table as AnyTable } from '../table.ts';
import type { Peers } from './peers.ts';
import type { Probe } from './probe.ts';

export interface Context extends Report {
  /** With relaxed SIMD where the engine has it. */
  backend: Backend;
  /** Plain simd128. */
  baseline: Backend;
  /** With 256-bit products, where the engine has them. */
  wide?: Backend;
  probe: Probe;
  peers: Peers;
  effort: Effort;
  quick: boolean;
  /** Another build, to be run beside: a column `new/old` tells this one's time over its. */
  before?: Build;
  /** On two threads, when asked for: onnxruntime-web gets two as well. */
  threaded?: Backend;
}

export type Table = AnyTable<Context>;
