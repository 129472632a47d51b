/** WGSL files arrive as text, Wasm binaries as bytes: the bundler inlines both. */
declare module '*.wgsl' {
  const text: string;
  export default text;
}
declare module '*.wasm' {
  const bytes: Uint8Array<ArrayBuffer>;
  export default bytes;
}
