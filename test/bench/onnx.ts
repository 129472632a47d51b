/** Just enough of the ONNX format to hand a SwiGLU FFN to onnxruntime: protobuf by hand, no package. */

/** `y = (silu(x Wg) * (x Wu)) Wd` for x [tokens, hidden]; weights as ONNX wants them, [in, out]. */
export function swigluModel(hidden: number, inner: number, weights: Record<'gate' | 'up' | 'down', Float32Array>): Uint8Array {
  const nodes = [
    node('MatMul', ['x', 'gate'], 'g'),
    node('Sigmoid', ['g'], 's'),
    node('Mul', ['g', 's'], 'a'),
    node('MatMul', ['x', 'up'], 'u'),
    node('Mul', ['a', 'u'], 'h'),
    node('MatMul', ['h', 'down'], 'y'),
  ];
  const initializers = [
    initializer('gate', [hidden, inner], weights.gate),
    initializer('up', [hidden, inner], weights.up),
    initializer('down', [inner, hidden], weights.down),
  ];
  const graph = message(
    ...nodes.map((each) => bytesField(1, each)),
    textField(2, 'ffn'),
    ...initializers.map((each) => bytesField(5, each)),
    bytesField(11, valueInfo('x', hidden)),
    bytesField(12, valueInfo('y', hidden)),
  );
  const opset = message(textField(1, ''), intField(2, 13));
  return message(intField(1, 8), bytesField(7, graph), bytesField(8, opset));
}

function node(type: string, inputs: readonly string[], output: string): Uint8Array {
  return message(...inputs.map((name) => textField(1, name)), textField(2, output), textField(4, type));
}

function initializer(name: string, shape: readonly number[], data: Float32Array): Uint8Array {
  const raw = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  return message(...shape.map((extent) => intField(1, extent)), intField(2, 1), textField(8, name), bytesField(9, raw));
}

/** f32 [tokens, width] with a free first extent. */
function valueInfo(name: string, width: number): Uint8Array {
  const shape = message(bytesField(1, message(textField(2, 'tokens'))), bytesField(1, message(intField(1, width))));
  const type = message(bytesField(1, message(intField(1, 1), bytesField(2, shape))));
  return message(textField(1, name), bytesField(2, type));
}

function message(...fields: readonly Uint8Array[]): Uint8Array {
  const joined = new Uint8Array(fields.reduce((sum, field) => sum + field.length, 0));
  let at = 0;
  for (const field of fields) {
    joined.set(field, at);
    at += field.length;
  }
  return joined;
}

function intField(number: number, value: number): Uint8Array {
  return Uint8Array.from([...varint(number << 3), ...varint(value)]);
}

function bytesField(number: number, value: Uint8Array): Uint8Array {
  return message(Uint8Array.from([...varint((number << 3) | 2), ...varint(value.length)]), value);
}

function textField(number: number, text: string): Uint8Array {
  return bytesField(number, new TextEncoder().encode(text));
}

function varint(value: number): number[] {
  const bytes: number[] = [];
  let rest = value;
  for (; rest >= 0x80; rest = Math.floor(rest / 0x80)) bytes.push((rest % 0x80) | 0x80);
  bytes.push(rest);
  return bytes;
}
