/** WGSL files arrive as text, Wasm binaries and what is made of them as bytes: the bundler inlines them. */
declare module '*.wgsl' {
  const text: string;
  export default text;
}
declare module '*.wasm' {
  const bytes: Uint8Array<ArrayBuffer>;
  export default bytes;
}
declare module '*.deflate' {
  const bytes: Uint8Array<ArrayBuffer>;
  export default bytes;
}
