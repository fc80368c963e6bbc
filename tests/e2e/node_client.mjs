// What tests/e2e/test_node_client.py runs: each step prints one line of JSON, [step, what was seen].
// Arguments: kubeconfig. Every name begins with "node-", so that nothing else is touched.
import * as k8s from "@kubernetes/client-node";
import WebSocket from "ws";

const namespace = "default";
const selector = "from=node";
const path = `/api/v1/namespaces/${namespace}/configmaps`;
const config = new k8s.KubeConfig();
config.loadFromFile(process.argv[2]);
const core = config.makeApiClient(k8s.CoreV1Api);
const merge = k8s.setHeaderOptions("Content-Type", k8s.PatchStrategy.MergePatch);
const strategic = k8s.setHeaderOptions("Content-Type", k8s.PatchStrategy.StrategicMergePatch);

const say = (step, seen) => console.log(JSON.stringify([step, seen]));
const configmap = (name) => ({ metadata: { name, labels: { from: "node" } }, data: { a: "1" } });
const list = () => core.listNamespacedConfigMap({ namespace, labelSelector: selector });

// Collects what happens until `count` things have, then resolves.
function collector(count) {
  const seen = [];
  let done;
  const finished = new Promise((resolve) => (done = resolve));
  return { finished, add: (item) => seen.push(item) === count && done(seen) };
}

async function lists() {
  await core.createNamespacedConfigMap({ namespace, body: configmap("node-a") });
  const found = await list();
  say("list", found.items.map((item) => item.metadata.name));
  return found.metadata.resourceVersion;
}

async function patches() {
  await core.patchNamespacedConfigMap({ namespace, name: "node-a", body: { data: { b: "2" } } }, merge);
  const body = { data: { a: null } };
  const patched = await core.patchNamespacedConfigMap({ namespace, name: "node-a", body }, strategic);
  say("patch", patched.data);
}

async function watches(resourceVersion) {
  const wanted = collector(3);
  const query = { resourceVersion, labelSelector: selector };
  const watch = await new k8s.Watch(config).watch(path, query, (type, object) => wanted.add([type, object.metadata.name]), () => {});
  await core.createNamespacedConfigMap({ namespace, body: configmap("node-b") });
  say("watch", await wanted.finished);
  watch.abort();
}

async function informs() {
  const wanted = collector(4);
  const informer = k8s.makeInformer(config, path, list, selector);
  for (const verb of ["add", "update", "delete"]) informer.on(verb, (object) => wanted.add([verb, object.metadata.name]));
  await informer.start();
  await core.patchNamespacedConfigMap({ namespace, name: "node-b", body: { data: { c: "3" } } }, merge);
  await core.deleteNamespacedConfigMap({ namespace, name: "node-b" });
  say("informer", await wanted.finished);
  await informer.stop();
}

async function fails() {
  const codes = [];
  for (const attempt of [
    () => core.createNamespacedConfigMap({ namespace, body: configmap("node-a") }),
    () => core.readNamespacedConfigMap({ namespace, name: "node-none" }),
    () => core.createNamespacedConfigMap({ namespace, body: configmap("Not A Name") }),
  ]) {
    try {
      await attempt();
    } catch (error) {
      codes.push([error.code, JSON.parse(error.body).reason]);
    }
  }
  say("errors", codes);
}

async function websockets() {
  const options = {};
  await config.applyToHTTPSOptions(options);
  const server = config.getCurrentCluster().server;
  const query = `watch=1&resourceVersion=0&timeoutSeconds=1&labelSelector=${selector}`;
  const socket = new WebSocket(`${server.replace("https", "wss")}${path}?${query}`, "base64.binary.k8s.io", { ...options, origin: server });
  const seen = [];
  socket.on("message", (data, binary) => seen.push([JSON.parse(data).type, binary]));
  const code = await new Promise((resolve, reject) => socket.on("close", resolve).on("error", reject));
  say("websocket", [socket.protocol, seen, code]);
}

const started = await lists();
await patches();
await watches(started);
await informs();
await fails();
await websockets();
await core.deleteCollectionNamespacedConfigMap({ namespace, labelSelector: selector });
say("delete", (await list()).items.length);
