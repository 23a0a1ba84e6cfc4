// A colour for each class, by its place in the list: far apart, and told apart on any photo.

const HUES = [211, 33, 150, 330, 266, 88, 187, 10, 240, 55, 300, 125];
const SHADES = [62, 74, 50];

export function classColour(index: number): string {
  const hue = HUES[index % HUES.length]!;
  const light = SHADES[Math.floor(index / HUES.length) % SHADES.length]!;
  return `hsl(${hue} 88% ${light}%)`;
}

const UNKNOWN = "hsl(0 0% 70%)";

export function colours(classes: readonly string[]): (className: string) => string {
  const known = new Map(classes.map((name, index) => [name, classColour(index)]));
  return (className) => known.get(className) ?? UNKNOWN;
}
