package safeq

import (
	"context"

	"docket/commands"
	commanded "docket/commands/directory"
	"docket/domain/fault"
	"docket/internal/httpx"
	"docket/readapi/safeq"
)

func registerGroups(w *writes) {
	tags := []string{"Groups"}
	type create struct {
		Body struct {
			Name string  `json:"groupname" minLength:"1"`
			DN   *string `json:"groupdn,omitempty" doc:"The textual id; made up when absent."`
		}
	}
	add(w, httpx.Op{ID: "45", Method: put, Path: safeq.Base + "/groups", Summary: "Create a local group", Tags: tags, Form: true},
		safeq.Needs{Rights: []string{"ViewUser", "CreateUser"}, Advanced: true, Code: safeq.CodeCreateGroup},
		func(ctx context.Context, in *create) (*idAnswer, error) {
			result, err := commands.Send(ctx, w.Bus, commanded.CreateGroup{ID: commands.NewID(ctx), OrganizationID: safeq.CallerOf(ctx).Account.ID,
				Details: commanded.Details{Name: in.Body.Name}, Active: true, ExternalID: text(in.Body.DN)})
			return codedID(safeq.CodeCreateGroup, result.State.Number, renamed(err, map[string]string{"name": "groupname", "externalId": "groupdn"}))
		})
	type one struct {
		GroupID string `path:"groupid"`
	}
	add(w, httpx.Op{ID: "46", Method: remove, Path: safeq.Base + "/groups/{groupid}", Summary: "Delete a local group", Tags: tags},
		safeq.Needs{Rights: []string{"ViewUser", "DeleteUser"}, Advanced: true, Code: safeq.CodeDeleteGroup},
		func(ctx context.Context, in *one) (*codeAnswer, error) {
			g, err := w.Reads.FindGroup(ctx, in.GroupID)
			switch {
			case err != nil:
				return nil, err
			case g == nil:
				return coded(safeq.CodeDeleteGroup, safeq.NoSuchGroup(in.GroupID))
			case g.Source != "":
				return coded(safeq.CodeDeleteGroup, fault.New(fault.Conflict, "group.foreign", "the group comes from a user directory"))
			}
			return coded(safeq.CodeDeleteGroup, sent(ctx, w, commanded.DeleteGroup{ID: g.ID}))
		})
}

// renamed gives the fields of a command's fault the names of this API. A name that
// ends in "[]" stands for every entry of a list.
func renamed(err error, names map[string]string) error {
	f := fault.Of(err)
	if f == nil || len(f.Fields) == 0 {
		return err
	}
	out := *f
	out.Fields = make([]fault.Field, len(f.Fields))
	for i, x := range f.Fields {
		if name, ok := names[x.Path]; ok {
			x.Path = name
		} else if name, ok := names[listOf(x.Path)]; ok {
			x.Path = name
		}
		out.Fields[i] = x
	}
	return &out
}

// listOf is "cards[]" for "cards[0]" and "groups[]" for "groups[2].id".
func listOf(path string) string {
	for i := range len(path) {
		if path[i] == '[' {
			return path[:i] + "[]"
		}
	}
	return path
}
