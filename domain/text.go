package domain

import "strings"

// Normal is the form in which names are compared where case does not matter:
// trimmed and lower-cased. Read models fold more (Unicode NFC) because they
// search; a unique key only has to be the same for what users call the same.
func Normal(s string) string { return strings.ToLower(strings.TrimSpace(s)) }

// Erased is what a person's data reads as after the person was erased.
const Erased = "(erased)"
