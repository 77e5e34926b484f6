"""Speed and memory, measured side by side. See README.md beside this file."""
