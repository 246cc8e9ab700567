package commands

import (
	"slices"
	"strings"

	"docket/domain"
)

// Key kinds are "<aggregate>-<field>", so that a refusal can name the field.
// fieldOf("user-email") is "email".
func fieldOf(kind string) string {
	_, field, _ := strings.Cut(kind, "-")
	return field
}

func label(kind string) string { return strings.ReplaceAll(kind, "-", " ") }

// category is the part of a stream name before the first dash.
func category(stream string) string {
	c, _, _ := strings.Cut(stream, "-")
	return c
}

// keyChanges is what a step from one state to the next takes and gives up.
func keyChanges(before, after []domain.Key) (gained, lost []domain.Key) {
	for _, k := range after {
		if !slices.Contains(before, k) {
			gained = append(gained, k)
		}
	}
	for _, k := range before {
		if !slices.Contains(after, k) {
			lost = append(lost, k)
		}
	}
	return gained, lost
}
