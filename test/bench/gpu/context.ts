/** What the tables of the WebGPU backend work with. */
import type { Backend } from '../../../src/backend/backend.ts';
import type { FfnShape } from '../data.ts';
import type { Report, Table as AnyTable } from '../table.ts';
import type { ChainEffort } from './chain.ts';
import type { Peers } from './peers.ts';
import type { Probe } from './probe.ts';

export interface Context extends Report {
  gpu: GPU;
  backend: Backend;
  /** The device of `backend`, and of the probe. */
  device: GPUDevice;
  probe: Probe;
  peers: Peers;
  /** Folder of peers that are not installed here. */
  peersFolder: string | undefined;
  effort: ChainEffort;
  quick: boolean;
  /** Toy shapes, to prove that a table runs. */
  smoke: boolean;
  /** For the table ffn, in place of its own. */
  shapes: readonly FfnShape[] | undefined;
  /** True on lavapipe and SwiftShader: small shapes, and rates that mean nothing outside this run. */
  software: boolean;
}

export type Table = AnyTable<Context>;
