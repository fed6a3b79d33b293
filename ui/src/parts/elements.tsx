// Elements that all pages share: icons, fields, forms, dialogs, buttons, empty and loading states.
import { useSignal } from "@preact/signals";
import type { ComponentChildren, JSX } from "preact";
import { useEffect, useId, useRef } from "preact/hooks";
import { ApiError } from "../api/client";

const PATHS: Record<string, string> = {
  notices: "M12 4a5 5 0 0 0-5 5v4l-2 3h14l-2-3V9a5 5 0 0 0-5-5Zm-2 14a2 2 0 0 0 4 0",
  close: "M6 6l12 12M18 6 6 18",
  edit: "M5 19l1-4L16 5l3 3L9 18l-4 1Z",
  trash: "M5 7h14M9 7V4h6v3M7 7l1 13h8l1-13",
  sun: "M12 8a4 4 0 1 0 0 8 4 4 0 0 0 0-8ZM12 2v3M12 19v3M2 12h3M19 12h3M5 5l2 2M17 17l2 2M5 19l2-2M17 7l2-2",
  up: "M12 19V5M6 11l6-6 6 6",
  down: "M12 5v14M6 13l6 6 6-6",
  plus: "M12 5v14M5 12h14",
  refresh: "M19 12a7 7 0 1 1-2-5l2 2M19 4v5h-5",
  play: "M8 5l11 7-11 7V5Z",
  stop: "M7 7h10v10H7z",
};

export const Icon = ({ name }: { name: keyof typeof PATHS }) => (
  <svg class="icon" viewBox="0 0 24 24" aria-hidden="true"><path d={PATHS[name] ?? ""} /></svg>
);

interface FieldProps {
  label: string; hint?: ComponentChildren; error?: string | undefined;
  children?: (id: string, describedBy: string | undefined) => ComponentChildren;
  input?: JSX.IntrinsicElements["input"];
}

/** A labelled input with its hint, or its error instead of the hint. */
export function Field({ label, hint, error, children, input }: FieldProps) {
  const id = useId();
  const describedBy = hint || error ? `${id}-about` : undefined;
  return (
    <div class={`field ${error ? "wrong" : ""}`}>
      <label for={id}>{label}</label>
      {children ? children(id, describedBy)
        : <input id={id} aria-describedby={describedBy} aria-invalid={error ? true : undefined} {...input} />}
      {describedBy && <p id={describedBy} class="hint">{error ?? hint}</p>}
    </div>
  );
}

/** A form that shows its progress and the server's error message. */
export function Form({ onSend, label, busyLabel = "Please wait …", children, extra }: {
  onSend: (values: Record<string, string>, form: HTMLFormElement) => Promise<string | void>;
  label: string; busyLabel?: string; extra?: ComponentChildren;
  children: (fields: Record<string, string>) => ComponentChildren;
}) {
  const isBusy = useSignal(false);
  const problem = useSignal<ApiError | null>(null);
  const done = useSignal("");
  const send = async (event: SubmitEvent) => {
    event.preventDefault();
    if (isBusy.value) return;
    const form = event.currentTarget as HTMLFormElement;
    const values = Object.fromEntries([...new FormData(form)].map(([name, value]) => [name, String(value)]));
    isBusy.value = true;
    problem.value = null;
    done.value = "";
    try {
      done.value = (await onSend(values, form)) ?? "";
    } catch (error) {
      problem.value = error instanceof ApiError ? error : new ApiError(0, "page", "This page has a fault. Reload it and try again.");
    } finally {
      isBusy.value = false;
    }
  };
  const fields = problem.value?.fields ?? {};
  return (
    <form class="form" onSubmit={(event) => void send(event)} noValidate={false}>
      {children(fields)}
      {problem.value && <p class="problem" role="alert">{problem.value.message}{otherErrors(fields, problem.value.message)}</p>}
      {done.value && <p class="done" role="status">{done.value}</p>}
      <div class="buttons">
        <button class="primary" type="submit" disabled={isBusy.value}>{isBusy.value ? busyLabel : label}</button>
        {extra}
      </div>
    </form>
  );
}

/** Return the field errors that the message does not already contain. */
const otherErrors = (fields: Record<string, string>, message: string) => {
  const all = Object.values(fields).filter((one) => one && !message.toLowerCase().includes(one.toLowerCase()));
  return all.length ? ` ${all.join(" ")}` : "";
};

/** A native modal dialog: the browser keeps the focus inside and closes it on Escape. */
export function Dialog({ title, onClose, children, class: className = "" }: {
  title: string; onClose: () => void; children: ComponentChildren; class?: string;
}) {
  const element = useRef<HTMLDialogElement | null>(null);
  const id = useId();
  useEffect(() => {
    const dialog = element.current;
    if (dialog && !dialog.open) dialog.showModal();
    dialog?.querySelector<HTMLElement>("form input, .primary")?.focus();
    return () => dialog?.close();
  }, []);
  return (
    <dialog ref={element} class={className} aria-labelledby={id} onCancel={(event) => { event.preventDefault(); onClose(); }}>
      <header class="dialog-head">
        <h2 id={id}>{title}</h2>
        <button type="button" class="quiet square" aria-label="Close" onClick={onClose}><Icon name="close" /></button>
      </header>
      {children}
    </dialog>
  );
}

export const Empty = ({ title, children }: { title: string; children?: ComponentChildren }) => (
  <div class="empty"><strong>{title}</strong>{children && <p>{children}</p>}</div>
);

export const Loading = ({ rows = 4, label = "Loading" }: { rows?: number; label?: string }) => (
  <div class="loading" role="status" aria-label={label}>{Array.from({ length: rows }, (_, row) => <i key={row} />)}</div>
);

export const Problem = ({ text, onRetry }: { text: string; onRetry?: () => void }) => (
  <div class="empty problem" role="alert"><strong>{text}</strong>
    {onRetry && <button type="button" onClick={onRetry}>Try again</button>}</div>
);

/** A button for one API call; an error appears beside it. */
export function Action({ run, children, class: className = "", label }: {
  run: () => Promise<unknown>; children: ComponentChildren; class?: string; label?: string;
}) {
  const isBusy = useSignal(false);
  const problem = useSignal("");
  const start = async () => {
    if (isBusy.value) return;
    isBusy.value = true;
    problem.value = "";
    try { await run(); } catch (error) { problem.value = error instanceof Error ? error.message : "The action failed. Try again."; }
    isBusy.value = false;
  };
  return (
    <>
      <button type="button" class={className} aria-label={label} title={label} aria-busy={isBusy.value} onClick={() => void start()}>{children}</button>
      {problem.value && <span class="problem small" role="alert">{problem.value}</span>}
    </>
  );
}
