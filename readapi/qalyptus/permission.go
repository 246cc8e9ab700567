package qalyptus

import (
	"context"
	"encoding/json"
	"net/http"

	"docket/domain"
	"docket/domain/directory"
	"docket/domain/fault"
	"docket/internal/httpx"
	"docket/readapi/query"
)

// OwnPermissions are what the caller may do: the union over all their roles.
// Roles are those given to the caller directly, whether or not they are active.
type OwnPermissions struct {
	Roles       []Ref       `json:"roles"`
	Permissions Permissions `json:"permissions"`
	AllProjects bool        `json:"allProjects"`
	Projects    []Ref       `json:"projects"` // when not all
}

// appendPermissions writes a jsonb array of permission keys by area.
func appendPermissions(dst []byte, row query.RawRow) []byte {
	var keys []string
	if err := json.Unmarshal(row.JSON(0), &keys); err != nil {
		panic("permissions of a role are no list: " + err.Error())
	}
	body, err := json.Marshal(PermissionsOf(keys))
	if err != nil {
		panic(err) // a map of booleans always encodes
	}
	return append(dst, body...)
}

func registerPermissions(r *Reads) {
	type answer struct{ Body Envelope[OwnPermissions] }
	httpx.Register(r.api, httpx.Op{ID: "105", Method: http.MethodGet, Path: "/security/permissions", Summary: "Get user permissions", Tags: []string{"Security"}},
		func(ctx context.Context, _ *struct{}) (*answer, error) {
			actor, ok := domain.ActorOf(ctx)
			if !ok {
				return nil, fault.New(fault.Unauthenticated, "credential.missing", "a credential is needed")
			}
			var keys []string
			for _, p := range directory.Permissions() {
				if actor.May(p) {
					keys = append(keys, p)
				}
			}
			own := OwnPermissions{Permissions: PermissionsOf(keys), AllProjects: actor.Projects == nil, Projects: []Ref{}}
			roles, err := query.FetchAll(ctx, r.reader, roleInfoShape, query.Request{Scope: query.Everything(), Filter: query.Equals("holder", actor.UserID)})
			if err != nil {
				return nil, err
			}
			own.Roles = append([]Ref{}, roles...)
			if !own.AllProjects {
				projects, err := query.FetchAll(ctx, r.reader, projectRefShape, query.Request{Scope: scopeOf(ctx), Filter: query.OneOf("id", actor.Projects...)})
				if err != nil {
					return nil, err
				}
				own.Projects = append(own.Projects, projects...)
			}
			return &answer{Envelope[OwnPermissions]{Data: own, IsSuccess: true}}, nil
		})
}
