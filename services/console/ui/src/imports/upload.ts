// Files on their way to the server: a few at once, each tried again where the network fails.

import { type Schemas, send } from "../api/client";
import { Refused } from "../api/errors";

export type Chosen = { path: string; file: File };
export type Sent = { files: number; bytes: number; failed: { path: string; reason: string }[] };

const AT_ONCE = 4;
const TRIES = 4;
const FIRST_WAIT_MS = 500;
const KINDS = /\.(jpe?g|png|webp|bmp|tiff?|gif|csv|json|txt)$/i;

/** What was dropped: files, and the files of folders, with their paths. */
export async function filesOf(items: DataTransferItemList): Promise<Chosen[]> {
  const entries = [...items]
    .map((item) => item.webkitGetAsEntry())
    .filter((entry) => entry !== null);
  const found: Chosen[] = [];
  for (const entry of entries) await walk(entry, "", found);
  return withoutFolder(found);
}

/** A folder that holds all of it is how it was chosen, not part of the names in it. */
export function withoutFolder(chosen: readonly Chosen[]): Chosen[] {
  const kept = chosen.filter(({ path }) => KINDS.test(path));
  const folders = new Set(kept.map(({ path }) => path.slice(0, path.indexOf("/") + 1)));
  const [folder] = folders;
  if (folders.size !== 1 || !folder) return kept;
  return kept.map(({ path, file }) => ({ path: path.slice(folder.length), file }));
}

/** The file with known labels, if there is one: CSV, or COCO's JSON. */
export const labelsIn = (chosen: readonly Chosen[]): string =>
  chosen.find(({ path }) => /(^|\/)(labels|annotations|instances)[^/]*\.(csv|json)$/i.test(path))
    ?.path ?? "";

export function chosenOf(files: FileList): Chosen[] {
  return withoutFolder(
    [...files].map((file) => ({ path: file.webkitRelativePath || file.name, file })),
  );
}

async function walk(entry: FileSystemEntry, folder: string, found: Chosen[]): Promise<void> {
  const path = folder + entry.name;
  if (entry.isFile) {
    const file = await new Promise<File>((resolve, reject) =>
      (entry as FileSystemFileEntry).file(resolve, reject),
    );
    found.push({ path, file });
    return;
  }
  const reader = (entry as FileSystemDirectoryEntry).createReader();
  for (;;) {
    // A reader gives a hundred entries at a time, and none at the end.
    const some = await new Promise<FileSystemEntry[]>((resolve, reject) =>
      reader.readEntries(resolve, reject),
    );
    if (!some.length) return;
    for (const inner of some) await walk(inner, `${path}/`, found);
  }
}

export async function upload(
  chosen: readonly Chosen[],
  told: (sent: Sent) => void,
  signal: AbortSignal,
): Promise<{ id: string; sent: Sent }> {
  const { id } = await send<Schemas["UploadOut"]>("POST", "/api/imports/uploads");
  const sent: Sent = { files: 0, bytes: 0, failed: [] };
  const waiting = [...chosen];
  const work = async (): Promise<void> => {
    for (let next = waiting.shift(); next && !signal.aborted; next = waiting.shift()) {
      try {
        await put(id, next);
        sent.files += 1;
        sent.bytes += next.file.size;
      } catch (error) {
        sent.failed.push({
          path: next.path,
          reason: error instanceof Error ? error.message : String(error),
        });
      }
      told({ ...sent });
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, work));
  if (signal.aborted) await send("DELETE", `/api/imports/uploads/${id}`);
  return { id, sent };
}

async function put(id: string, { path, file }: Chosen): Promise<void> {
  const place = path.split("/").map(encodeURIComponent).join("/");
  for (let attempt = 1; ; attempt += 1) {
    try {
      await send("PUT", `/api/imports/uploads/${id}/files/${place}`, file);
      return;
    } catch (error) {
      const isFinal = error instanceof Refused && error.status < 500;
      if (isFinal || attempt === TRIES) throw error;
      await new Promise((resolve) => setTimeout(resolve, FIRST_WAIT_MS * 2 ** attempt));
    }
  }
}
