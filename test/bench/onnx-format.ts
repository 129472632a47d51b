/** The part of the ONNX format that benchmarks need: protobuf by hand, no package. */

export type Bytes = Uint8Array;
export type Attribute = number | string | readonly number[];

/** Extents of a tensor; a name stands for a free one. */
export type Shape = readonly (number | string)[];

export interface Graph {
  nodes: readonly Bytes[];
  initializers: readonly Bytes[];
  /** f32 tensors by name. */
  inputs: Readonly<Record<string, Shape>>;
  outputs: Readonly<Record<string, Shape>>;
  /** Default 13. */
  opset?: number;
}

const CONTRIB = 'com.microsoft';

/** A whole model file, with onnxruntime's own operators. */
export function model({ nodes, initializers, inputs, outputs, opset: version = 13 }: Graph): Bytes {
  const graph = message(
    ...nodes.map((each) => bytesField(1, each)),
    textField(2, 'bench'),
    ...initializers.map((each) => bytesField(5, each)),
    ...Object.entries(inputs).map(([name, shape]) => bytesField(11, valueInfo(name, shape))),
    ...Object.entries(outputs).map(([name, shape]) => bytesField(12, valueInfo(name, shape))),
  );
  const opset = (domain: string, number: number) => bytesField(8, message(textField(1, domain), intField(2, number)));
  return message(intField(1, 8), bytesField(7, graph), opset('', version), opset(CONTRIB, 1));
}

export function node(
  type: string,
  inputs: readonly string[],
  outputs: string | readonly string[],
  attributes: Readonly<Record<string, Attribute>> = {},
): Bytes {
  const names = typeof outputs === 'string' ? [outputs] : outputs;
  return message(
    ...inputs.map((name) => textField(1, name)),
    ...names.map((name) => textField(2, name)),
    textField(4, type),
    ...Object.entries(attributes).map(([name, value]) => bytesField(5, attribute(name, value))),
  );
}

/** A node of onnxruntime's own operator set. */
export function contribNode(...args: Parameters<typeof node>): Bytes {
  return message(node(...args), textField(7, CONTRIB));
}

/** Whole numbers, lists of them, and words. */
function attribute(name: string, value: Attribute): Bytes {
  if (typeof value === 'string') return message(textField(1, name), textField(4, value), intField(20, 3));
  const type = typeof value === 'number' ? 2 : 7;
  const fields = typeof value === 'number' ? [intField(3, value)] : value.map((each) => intField(8, each));
  return message(textField(1, name), ...fields, intField(20, type));
}

type InitializerData = Float32Array | Uint8Array | Int8Array | Int32Array | BigInt64Array;
const DATA_TYPES = { Float32Array: 1, Uint8Array: 2, Int8Array: 3, Int32Array: 6, BigInt64Array: 7 } as const;

export function initializer(name: string, shape: readonly number[], data: InitializerData): Bytes {
  const raw = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  const type = DATA_TYPES[data.constructor.name as keyof typeof DATA_TYPES];
  return message(...shape.map((extent) => intField(1, extent)), intField(2, type), textField(8, name), bytesField(9, raw));
}

function valueInfo(name: string, extents: Shape): Bytes {
  const dims = extents.map((extent) => bytesField(1, message(typeof extent === 'number' ? intField(1, extent) : textField(2, extent))));
  const type = message(bytesField(1, message(intField(1, 1), bytesField(2, message(...dims)))));
  return message(textField(1, name), bytesField(2, type));
}

function message(...fields: readonly Bytes[]): Bytes {
  const joined = new Uint8Array(fields.reduce((sum, field) => sum + field.length, 0));
  let at = 0;
  for (const field of fields) {
    joined.set(field, at);
    at += field.length;
  }
  return joined;
}

function intField(number: number, value: number): Bytes {
  return Uint8Array.from([...varint(number << 3), ...varint(value)]);
}

function bytesField(number: number, value: Bytes): Bytes {
  return message(Uint8Array.from([...varint((number << 3) | 2), ...varint(value.length)]), value);
}

function textField(number: number, text: string): Bytes {
  return bytesField(number, new TextEncoder().encode(text));
}

function varint(value: number): number[] {
  const bytes: number[] = [];
  let rest = value;
  for (; rest >= 0x80; rest = Math.floor(rest / 0x80)) bytes.push((rest % 0x80) | 0x80);
  bytes.push(rest);
  return bytes;
}
