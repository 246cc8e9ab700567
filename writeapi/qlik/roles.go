package qlik

import (
	"context"
	"fmt"
	"regexp"
	"strconv"

	"docket/domain"
	"docket/domain/fault"
	"docket/readapi/qlik"
)

// maxRoles is the documented limit of a group.
const maxRoles = 100

// assignedRoles names roles, all by id or all by name.
type assignedRoles []struct {
	ID   *string `json:"id,omitempty"`
	Name *string `json:"name,omitempty"`
}

// chosen are the roles behind references, each once, with the places in the body
// where they stand.
type chosen struct {
	ids   []domain.ID
	paths []string
	base  string // of the list
}

// roles finds the roles behind references; base is where they stand in the body.
func (w *writes) roles(ctx context.Context, refs assignedRoles, base string) (chosen, error) {
	found := chosen{base: base}
	if len(refs) > maxRoles {
		return found, fault.InvalidField(base, "has more than %d roles", maxRoles)
	}
	var names []string
	var problems fault.Problems
	paths := make([]string, len(refs))
	ids := make([]domain.ID, len(refs))
	for i, ref := range refs {
		element := fmt.Sprintf("%s[%d]", base, i)
		switch {
		case (ref.ID == nil) == (ref.Name == nil):
			problems.Add(element, "must have either an id or a name")
		case ref.ID != nil:
			var err error
			ids[i], err = domain.ParseShortID(*ref.ID)
			paths[i] = element + ".id"
			problems.Check(err == nil, paths[i], qlik.NoSuchRole)
		default:
			names = append(names, *ref.Name)
			paths[i] = element + ".name"
		}
	}
	if len(names) > 0 && len(names) < len(refs) {
		problems.Add(base, "must name its roles all by id or all by name")
	}
	if err := problems.Err(); err != nil {
		return found, err
	}
	if len(names) > 0 {
		var err error
		if ids, err = w.Reads.RolesByName(ctx, names, func(i int) string { return paths[i] }); err != nil {
			return found, err
		}
	}
	seen := make(map[domain.ID]bool, len(ids))
	for i, id := range ids {
		if !seen[id] {
			seen[id] = true
			found.ids, found.paths = append(found.ids, id), append(found.paths, paths[i])
		}
	}
	return found, nil
}

var commandRole = regexp.MustCompile(`^roles(?:\[(\d+)\]\.id)?$`)

// locate says in terms of the body what a command said about its roles.
func (c chosen) locate(err error) error {
	f := *fault.Of(err)
	located := make([]fault.Field, len(f.Fields))
	for i, field := range f.Fields {
		located[i] = field
		m := commandRole.FindStringSubmatch(field.Path)
		if m == nil {
			continue
		}
		located[i].Path = c.base
		n, notNumber := strconv.Atoi(m[1])
		if notNumber != nil || n >= len(c.paths) {
			continue
		}
		located[i].Path = c.paths[n]
		if f.Kind == fault.Invalid {
			located[i].Message = qlik.NoSuchRole
		}
	}
	f.Fields = located
	return &f
}
