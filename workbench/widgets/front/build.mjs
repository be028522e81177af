// Bundles the front end into ../static, which is committed: whoever installs the package needs no Node.
//
//   node build.mjs           writes the bundle, its style sheet and the licences of what is in it
//   node build.mjs --check   writes nothing; fails if what is committed is not what the source gives
//   node build.mjs --size    writes nothing; prints the compressed size and fails if it is too large
import { readFile, readdir, writeFile, mkdir } from "node:fs/promises";
import { basename, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { build } from "esbuild";

const HERE = fileURLToPath(new URL(".", import.meta.url));
const MODULES = join(HERE, "node_modules");
const STATIC = join(HERE, "..", "static");
const MOST = 400_000; // bytes, compressed

async function bundle() {
  const { outputFiles, metafile } = await build({
    absWorkingDir: HERE,
    entryPoints: [
      { in: "src/index.tsx", out: "explore" },
      { in: "src/style.css", out: "explore" },
    ],
    outdir: STATIC,
    bundle: true,
    format: "esm",
    target: "es2022",
    platform: "browser",
    minify: true,
    charset: "utf8",
    legalComments: "eof",
    define: { "process.env.NODE_ENV": '"production"' },
    metafile: true,
    write: false,
    logLevel: "warning",
  });
  const files = new Map(outputFiles.map((file) => [basename(file.path), file.text]));
  files.set("explore.licenses.txt", await licences(Object.keys(metafile.inputs)));
  return files;
}

// Most packages keep their licence in a file, not in a comment that a bundler would carry over; and some come with
// what they depend on already in their own bundle.
async function licences(inputs) {
  const packages = new Map();
  const waiting = inputs.map((path) => /^node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(path)?.[1]).filter(Boolean);
  for (let name = waiting.pop(); name; name = waiting.pop()) {
    if (packages.has(name)) continue;
    packages.set(name, JSON.parse(await readFile(join(MODULES, name, "package.json"), "utf8")));
    waiting.push(...Object.keys(packages.get(name).dependencies ?? {}));
  }
  const texts = [];
  for (const name of [...packages.keys()].sort()) {
    const { version, license } = packages.get(name);
    const file = (await readdir(join(MODULES, name))).find((entry) => /^licen[cs]e/i.test(entry));
    const text = file ? await readFile(join(MODULES, name, file), "utf8") : "";
    texts.push(`${name} ${version} (${license})\n\n${text.replaceAll("\r\n", "\n").trim()}`);
  }
  return `The bundle explore.js contains these packages.\n\n${texts.join(`\n\n${"-".repeat(72)}\n\n`)}\n`;
}

function failed(words) {
  console.error(words);
  process.exitCode = 1;
}

const files = await bundle();
if (process.argv.includes("--check")) {
  for (const [name, text] of files) {
    const committed = await readFile(join(STATIC, name), "utf8").catch(() => null);
    if (committed !== text) failed(`static/${name} is not what the source gives: run \`make front\` and commit it.`);
  }
} else if (process.argv.includes("--size")) {
  const size = gzipSync(files.get("explore.js") + files.get("explore.css")).length;
  console.log(`${(size / 1000).toFixed(1)} kB compressed, of ${MOST / 1000} kB at most`);
  if (size > MOST) failed("The bundle is too large.");
} else {
  await mkdir(STATIC, { recursive: true });
  for (const [name, text] of files) await writeFile(join(STATIC, name), text);
  console.log(`wrote ${[...files.keys()].join(", ")} to ${relative(process.cwd(), STATIC)}`);
}
