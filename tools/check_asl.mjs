// Checks state machines with AWS's own language service: missing next states, unreachable states, unknown fields.
// Takes files; prints a line for each finding, and exits with 1 if there is any.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const require = createRequire(new URL("../requirements/npm/", import.meta.url));
const { getLanguageService } = require("amazon-states-language-service");
const { TextDocument } = require("vscode-languageserver-textdocument");

const service = getLanguageService({ aslOptions: { shouldShowStateSnippets: false } });
const files = process.argv.slice(2);
let found = 0;
for (const path of files) {
  const document = TextDocument.create(path, "asl", 1, readFileSync(path, "utf8"));
  const findings = await service.doValidation(document, service.parseJSONDocument(document));
  for (const { range, message } of findings) {
    process.stderr.write(`${path}:${range.start.line + 1}: ${message}\n`);
  }
  found += findings.length;
}
if (!files.length) process.stderr.write("name the state machines to check\n");
process.exitCode = found || !files.length ? 1 : 0;
