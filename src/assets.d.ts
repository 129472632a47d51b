/** Wasm binaries and what is made of them arrive as bytes: the bundler inlines them. For WGSL see build/kernels.d.ts. */
declare module '*.wasm' {
  const bytes: Uint8Array<ArrayBuffer>;
  export default bytes;
}
declare module '*.deflate' {
  const bytes: Uint8Array<ArrayBuffer>;
  export default bytes;
}
