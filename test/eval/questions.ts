/** The questions of an evaluation folder: questions.jsonl, an object a line. */
import { readFile } from 'node:fs/promises';
import path from 'node:path';

const FIELDS = ['image', 'type', 'question', 'answer'] as const;

/** Further fields hold the answers that others gave, by the name of who gave them. */
export type Question = Readonly<Record<(typeof FIELDS)[number], string> & Record<string, string | undefined>>;

export async function readQuestions(folder: string): Promise<Question[]> {
  const file = path.join(folder, 'questions.jsonl');
  const lines = (await readFile(file, 'utf8')).split('\n');
  const questions = lines.flatMap((line, i) => (line.trim() ? [readQuestion(line, `${file}, line ${i + 1}`)] : []));
  if (questions.length === 0) throw new Error(`${file} holds no questions`);
  return questions;
}

function readQuestion(line: string, place: string): Question {
  let read: unknown;
  try {
    read = JSON.parse(line);
  } catch (cause) {
    throw new Error(`${place} is no JSON: ${(cause as Error).message}`, { cause });
  }
  const missing = FIELDS.find((field) => typeof (read as Record<string, unknown> | null)?.[field] !== 'string');
  if (missing) throw new Error(`${place} has no text "${missing}"`);
  return read as Question;
}
