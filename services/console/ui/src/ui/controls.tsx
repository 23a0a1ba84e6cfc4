// Buttons, chips, fields and the like: what every page is made of.

import type { LucideIcon } from "lucide-react";
import {
  type ButtonHTMLAttributes,
  type InputHTMLAttributes,
  type ReactNode,
  type TextareaHTMLAttributes,
  useId,
} from "react";

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

/** What a field is called, what it wants, and what is wrong with what it has. */
type Told = { label: string; hint?: string; fault?: string };

export function Field({
  label,
  hint,
  fault,
  ...rest
}: InputHTMLAttributes<HTMLInputElement> & Told) {
  const id = useId();
  return (
    <div className="field">
      <label htmlFor={id}>{label}</label>
      <input id={id} {...describedBy(id, hint, fault)} {...rest} />
      <Note id={id} hint={hint} fault={fault} />
    </div>
  );
}

/** A field of several lines. */
export function Area({
  label,
  hint,
  fault,
  ...rest
}: TextareaHTMLAttributes<HTMLTextAreaElement> & Told) {
  const id = useId();
  return (
    <div className="field">
      <label htmlFor={id}>{label}</label>
      <textarea id={id} {...describedBy(id, hint, fault)} {...rest} />
      <Note id={id} hint={hint} fault={fault} />
    </div>
  );
}

const describedBy = (id: string, hint?: string, fault?: string) => ({
  "aria-describedby": hint || fault ? `${id}-note` : undefined,
  "aria-invalid": fault ? true : undefined,
});

function Note({
  id,
  hint,
  fault,
}: {
  id: string;
  hint: string | undefined;
  fault: string | undefined;
}) {
  if (!hint && !fault) return null;
  return (
    <small id={`${id}-note`} className={fault ? "bad-text" : "faint"}>
      {fault || hint}
    </small>
  );
}

/** Any of a few, each to be ticked. */
export function Choices({
  label,
  hint,
  options,
  chosen,
  onChange,
}: {
  label: string;
  hint?: string;
  options: readonly { value: string; label: string; aside?: string }[];
  chosen: readonly string[];
  onChange: (chosen: string[]) => void;
}) {
  const id = useId();
  return (
    <fieldset className="field choices" aria-describedby={hint ? `${id}-note` : undefined}>
      <legend>{label}</legend>
      <div className="choice-list">
        {options.map((option) => (
          <label key={option.value} className="choice">
            <input
              type="checkbox"
              checked={chosen.includes(option.value)}
              onChange={(event) =>
                onChange(
                  event.target.checked
                    ? [...chosen, option.value]
                    : chosen.filter((one) => one !== option.value),
                )
              }
            />
            {option.label}
            {option.aside && <span className="faint">{option.aside}</span>}
          </label>
        ))}
      </div>
      <Note id={id} hint={hint} fault={undefined} />
    </fieldset>
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
