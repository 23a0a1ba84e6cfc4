// The graph as a picture: SVG written from the same layout, PNG painted from that SVG.

import { colour } from "../app/theme";
import type { Graph } from "./graph";
import { lookOf } from "./kinds";
import type { Layout } from "./layout";
import { returnPath, wirePath } from "./Wire";

const MARGIN = 40;
const PIXELS_MAX = 8192; // per side; browsers refuse larger canvases

export function toSvg(graph: Graph, layout: Layout): string {
  const [width, height] = [layout.width + 2 * MARGIN, layout.height + 2 * MARGIN];
  const wires = graph.edges.map((edge) => {
    const from = graph.cards.get(edge.source)!;
    const to = graph.cards.get(edge.target)!;
    const a = layout.positions.get(edge.source)!;
    const b = layout.positions.get(edge.target)!;
    const ends = [a.x + from.width, a.y + from.height / 2, b.x, b.y + to.height / 2] as const;
    const returning = layout.returning.has(edge.id);
    const path = returning
      ? returnPath(...ends)
      : wirePath(...ends, layout.routes.get(edge.id) ?? []);
    return `<path d="${path}"${returning ? ' stroke-dasharray="5 5"' : ""}/>`;
  });
  const cards = [...graph.cards.values()].map((card) => {
    const { x, y } = layout.positions.get(card.id)!;
    const look = lookOf(card.kind);
    const tint = colour(`--kind-${look.colour}`);
    const label = card.aliases.length ? `${look.word} · ${card.aliases.join(", ")}` : look.word;
    return `<g transform="translate(${x},${y})"><rect width="${card.width}" height="${card.height}" rx="10" fill="${colour("--surface")}" stroke="${colour("--line-strong")}"/><rect y="10" width="3" height="${card.height - 20}" fill="${tint}"/>${
      card.kind === "run"
        ? text(16, 25, 12, colour("--text"), `${card.title} ${card.badge}`)
        : text(14, 20, 11, tint, label) +
          text(14, 39, 13, colour("--text"), clip(`${card.title} ${card.badge}`, 28), 600) +
          text(14, 56, 12, colour("--muted"), clip(card.line, 32))
    }</g>`;
  });
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="${-MARGIN} ${-MARGIN} ${width} ${height}" font-family="Inter, system-ui, sans-serif"><rect x="${-MARGIN}" y="${-MARGIN}" width="${width}" height="${height}" fill="${colour("--ground")}"/><g fill="none" stroke="${colour("--line-strong")}" stroke-width="1.5">${wires.join("")}</g>${cards.join("")}</svg>`;
}

function text(
  x: number,
  y: number,
  size: number,
  fill: string,
  said: string,
  weight = 400,
): string {
  return `<text x="${x}" y="${y}" font-size="${size}" font-weight="${weight}" fill="${fill}">${escaped(said)}</text>`;
}

const clip = (said: string, length: number): string =>
  said.length > length ? `${said.slice(0, length - 1)}…` : said;

const escaped = (said: string): string =>
  said.replace(
    /[&<>"]/g,
    (sign) => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" })[sign]!,
  );

export async function toPng(svg: string, width: number, height: number): Promise<Blob> {
  const url = URL.createObjectURL(new Blob([svg], { type: "image/svg+xml" }));
  try {
    const image = new Image();
    image.src = url;
    await image.decode();
    const full = { width: width + 2 * MARGIN, height: height + 2 * MARGIN };
    const scale = Math.min(2, PIXELS_MAX / Math.max(full.width, full.height));
    const canvas = document.createElement("canvas");
    canvas.width = Math.round(full.width * scale);
    canvas.height = Math.round(full.height * scale);
    canvas.getContext("2d")!.drawImage(image, 0, 0, canvas.width, canvas.height);
    const blob = await new Promise<Blob | null>((resolve) => canvas.toBlob(resolve, "image/png"));
    if (!blob) throw new Error("The graph is too large for a PNG. Export it as SVG.");
    return blob;
  } finally {
    URL.revokeObjectURL(url);
  }
}

export function save(blob: Blob, name: string): void {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1_000);
}
