// Buttons, chips, fields and the like: what every page is made of.

import type { LucideIcon } from "lucide-react";
import { type ButtonHTMLAttributes, type InputHTMLAttributes, type ReactNode, useId } from "react";

type ButtonProps = ButtonHTMLAttributes<HTMLButtonElement> & {
  tone?: "plain" | "primary" | "danger" | "quiet";
  icon?: LucideIcon;
  size?: "s" | "m";
};

export function Button({
  tone = "plain",
  icon: Icon,
  size = "m",
  children,
  className = "",
  ...rest
}: ButtonProps) {
  return (
    <button type="button" className={`button ${tone} ${size} ${className}`} {...rest}>
      {Icon && <Icon size={size === "s" ? 14 : 16} aria-hidden />}
      {children}
    </button>
  );
}

type IconButtonProps = Omit<ButtonHTMLAttributes<HTMLButtonElement>, "children"> & {
  icon: LucideIcon;
  label: string;
  keys?: string;
  pressed?: boolean;
  size?: "s" | "m";
};

/** A button that is only a sign; its label is read aloud and shown on hovering. */
export function IconButton({
  icon: Icon,
  label,
  keys,
  pressed,
  size = "m",
  className = "",
  ...rest
}: IconButtonProps) {
  return (
    <button
      type="button"
      className={`icon-button ${size} ${className}`}
      aria-label={label}
      title={keys ? `${label} (${keys})` : label}
      aria-pressed={pressed}
      {...rest}
    >
      <Icon size={size === "s" ? 14 : 17} aria-hidden />
    </button>
  );
}

export type Tone = "neutral" | "accent" | "good" | "warn" | "bad";

export function Chip({
  tone = "neutral",
  children,
  title,
}: {
  tone?: Tone;
  children: ReactNode;
  title?: string;
}) {
  return (
    <span className={`chip ${tone}`} title={title}>
      {children}
    </span>
  );
}

export function Segmented<T extends string>({
  label,
  value,
  options,
  onChange,
}: {
  label: string;
  value: T;
  options: readonly { value: T; label: string; title?: string }[];
  onChange: (value: T) => void;
}) {
  return (
    <div className="segmented" role="group" aria-label={label}>
      {options.map((option) => (
        <button
          key={option.value}
          type="button"
          title={option.title}
          aria-pressed={option.value === value}
          onClick={() => onChange(option.value)}
        >
          {option.label}
        </button>
      ))}
    </div>
  );
}

type FieldProps = InputHTMLAttributes<HTMLInputElement> & { label: string; hint?: string };

export function Field({ label, hint, ...rest }: FieldProps) {
  const id = useId();
  return (
    <div className="field">
      <label htmlFor={id}>{label}</label>
      <input id={id} aria-describedby={hint ? `${id}-hint` : undefined} {...rest} />
      {hint && (
        <small id={`${id}-hint`} className="faint">
          {hint}
        </small>
      )}
    </div>
  );
}

export function Select({
  label,
  value,
  options,
  onChange,
  bare = false,
}: {
  label: string;
  value: string;
  options: readonly (string | { value: string; label: string })[];
  onChange: (value: string) => void;
  bare?: boolean;
}) {
  const choices = options.map((option) =>
    typeof option === "string" ? { value: option, label: option } : option,
  );
  const id = useId();
  return (
    <div className={bare ? "select bare" : "select"}>
      <label htmlFor={id} className={bare ? "visually-hidden" : ""}>
        {label}
      </label>
      <select id={id} value={value} onChange={(event) => onChange(event.target.value)}>
        {choices.map((option) => (
          <option key={option.value} value={option.value}>
            {option.label}
          </option>
        ))}
      </select>
    </div>
  );
}

export function Progress({ value, label }: { value: number; label: string }) {
  const share = Math.max(0, Math.min(1, value));
  return (
    <div
      className="progress"
      role="progressbar"
      aria-label={label}
      aria-valuemin={0}
      aria-valuemax={100}
      aria-valuenow={Math.round(share * 100)}
    >
      <i style={{ width: `${share * 100}%` }} />
    </div>
  );
}

export function Key({ children }: { children: ReactNode }) {
  return <kbd>{children}</kbd>;
}
