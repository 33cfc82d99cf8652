// only_remote.js - A model that this page cannot compute: the server of toy-gpt view does (remote.js), where there is one.

export function filesOf({ model_kind: kind }) {
  throw new Error(`this page cannot compute ${kind}; toy-gpt view can`);
}

export const rebuild = filesOf;
