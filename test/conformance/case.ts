/** A conformance case: inputs, attributes, expected outputs and tolerances of one op, in one safetensors file. */
import { parseSafetensors, type SafeTensor } from '../../src/model/files/safetensors.ts';
import type { Tolerance } from '../harness.ts';

export interface Array32 {
  data: Float32Array | Uint32Array | Int32Array;
  shape: readonly number[];
}
export type Arrays = Readonly<Record<string, Array32>>;

export interface ConformanceCase extends Tolerance {
  op: string;
  attrs: Readonly<Record<string, unknown>>;
  note: string;
  /** Without their prefixes `in.` and `out.`. */
  inputs: Arrays;
  outputs: Arrays;
}

export function readCase(bytes: Uint8Array, file: string): ConformanceCase {
  const { metadata, tensors } = parseSafetensors(bytes, file);
  const { op, attrs = '{}', note = '' } = metadata;
  const [atol, rtol] = [Number(metadata.atol), Number(metadata.rtol)];
  if (!op) throw new Error('the file names no op in its metadata');
  if (!(atol >= 0 && rtol >= 0)) throw new Error(`atol and rtol are "${metadata.atol}" and "${metadata.rtol}", not numbers`);
  const inputs: Record<string, Array32> = {};
  const outputs: Record<string, Array32> = {};
  for (const [name, tensor] of tensors) {
    if (name.startsWith('in.')) inputs[name.slice(3)] = arrayOf(tensor);
    else if (name.startsWith('out.')) outputs[name.slice(4)] = arrayOf(tensor);
  }
  if (Object.keys(outputs).length === 0) throw new Error('the file expects no outputs');
  return { op, attrs: JSON.parse(attrs) as Record<string, unknown>, atol, rtol, note, inputs, outputs };
}

function arrayOf({ name, dtype, shape, data }: SafeTensor): Array32 {
  const { buffer } = new Uint8Array(data); // a copy: aligned, whatever the offset in the file
  if (dtype === 'F32') return { data: new Float32Array(buffer), shape };
  if (dtype === 'U32') return { data: new Uint32Array(buffer), shape };
  if (dtype === 'I32') return { data: new Int32Array(buffer), shape };
  throw new Error(`tensor ${name} is ${dtype}, expected F32, U32 or I32`);
}
