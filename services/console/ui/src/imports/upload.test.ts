import { describe, expect, it } from "vitest";
import { labelsIn, withoutFolder } from "./upload";

const chosen = (...paths: string[]) => paths.map((path) => ({ path, file: {} as File }));
const paths = (of: { path: string }[]) => of.map(({ path }) => path);

describe("chosen files", () => {
  it("are named from inside the folder that was chosen", () => {
    const found = withoutFolder(chosen("trees/train/a.jpg", "trees/labels.json"));
    expect(paths(found)).toEqual(["train/a.jpg", "labels.json"]);
  });

  it("keep their folders where there are several", () => {
    expect(paths(withoutFolder(chosen("cat/a.jpg", "dog/b.jpg")))).toEqual([
      "cat/a.jpg",
      "dog/b.jpg",
    ]);
    expect(paths(withoutFolder(chosen("a.jpg", "dog/b.jpg")))).toEqual(["a.jpg", "dog/b.jpg"]);
  });

  it("are images and labels only", () => {
    const found = withoutFolder(chosen("p/a.jpg", "p/.DS_Store", "p/notes.docx", "p/labels.csv"));
    expect(paths(found)).toEqual(["a.jpg", "labels.csv"]);
  });

  it("tell where the labels are", () => {
    expect(labelsIn(chosen("a.jpg", "sub/instances_train.json"))).toBe("sub/instances_train.json");
    expect(labelsIn(chosen("a.jpg", "label-free.jpg"))).toBe("");
  });
});
