package qalyptus

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	"docket/domain"
	"docket/domain/directory"
	"docket/domain/fault"
	"docket/internal/httpx"
	"docket/readapi/query"
	"docket/readapi/query/bracket"
)

// User as this API shows it: somebody who logs in, or a recipient.
type User struct {
	ID            domain.ID `json:"id" col:"id"`
	Type          string    `json:"type" col:"kind"`
	UserName      string    `json:"userName" col:"user_name"`
	DomainAccount string    `json:"domainAccount" col:"domain_account"`
	FirstName     string    `json:"firstName" col:"first_name"`
	LastName      string    `json:"lastName" col:"last_name"`
	FullName      string    `json:"fullName" col:"full_name"`
	Email         string    `json:"email" col:"email"`
	IsActive      bool      `json:"isActive" col:"is_active"`
	IsoLanguage   string    `json:"isoLanguage" col:"language"`
	Roles         []Ref     `json:"roles" col:"role_refs,json"`
	Organizations []Ref     `json:"organizations" col:"organization_refs,json"`
	Groups        []Ref     `json:"groups" col:"group_refs,json"`
	CreatedDate   time.Time `json:"createdDate" col:"created_at"`
	ModifiedDate  time.Time `json:"modifiedDate" col:"modified_at"`
}

var users = query.MustDefine(query.Resource{
	Name: "user", Table: "rm_directory.users",
	ScopeVia: &query.Membership{Table: "rm_directory.user_organizations", Row: "user_id", Organization: "organization_id"},
	Fields: []query.Field{
		{Name: "full_name", Aliases: []string{"fullName"}, Column: "full_name", Folded: "full_name_f", Ops: textOps, Sortable: true, Reversed: true},
		{Name: "email", Column: "email", Folded: "email_f", Ops: textOps, Sortable: true, Reversed: true},
		{Name: "userName", Column: "user_name", Folded: "user_name_f", Sortable: true},
		{Name: "is_active", Aliases: []string{"isActive"}, Column: "is_active", Kind: query.Bool, Ops: query.Eq, Sortable: true},
		{Name: "group_id", Kind: query.UUID, Ops: query.Eq, Sub: &query.Sub{Table: "rm_directory.user_groups", Row: "user_id", Column: "group_id"}},
		{Name: "groups", Column: "groups_count", Kind: query.Int, Sortable: true},
		{Name: "type", Column: "kind", Exact: true, Sortable: true, Ops: query.Eq, Parse: userKind},
		{Name: "createdDate", Column: "created_at", Kind: query.Time, Sortable: true},
		{Name: "modifiedDate", Column: "modified_at", Kind: query.Time, Sortable: true},
	},
	DefaultSort: query.Sort{Field: "full_name"},
	Counters:    []string{""},
})

// UserShape reads users and recipients.
var UserShape = query.MustShape[User](users,
	query.Virtual("role_refs", refsSQL("rm_directory.user_roles m join rm_directory.roles x on x.id = m.role_id",
		"m.user_id = t.id and (x.is_system or "+query.Visible("x.organization_id")+")")),
	query.Virtual("organization_refs", refsSQL("rm_directory.user_organizations m join rm_directory.organizations x on x.id = m.organization_id",
		"m.user_id = t.id and "+query.Visible("x.id"))),
	query.Virtual("group_refs", refsSQL("rm_directory.user_groups m join rm_directory.groups x on x.id = m.group_id",
		"m.user_id = t.id and "+query.Visible("x.organization_id"))))

// UserOf is a user as the command side knows them.
func UserOf(u directory.User, n Names) User {
	return User{ID: u.ID, Type: string(u.Kind), UserName: u.UserName, DomainAccount: u.DomainAccount, FirstName: u.FirstName, LastName: u.LastName,
		FullName: directory.FullName(u.FirstName, u.LastName), Email: u.Email, IsActive: u.Active, IsoLanguage: u.Language,
		Roles: n.refs(u.Roles), Organizations: n.refs(u.InOrgs), Groups: n.refs(u.Groups), CreatedDate: u.CreatedAt, ModifiedDate: u.ModifiedAt}
}

func registerUsers(r *Reads) {
	tags := []string{"User"}
	kind := func(k directory.UserKind) func(context.Context) query.Expr {
		return func(context.Context) query.Expr { return query.Equals("type", string(k)) }
	}
	list(r, httpx.Op{ID: "172", Path: "/users", Summary: "Get all users", Tags: tags, Permission: "users.view"}, UserShape, r.ofSeenGroup)
	get(r, httpx.Op{ID: "175", Path: "/users/{id}", Summary: "Get user by id", Tags: tags, Permission: "users.view"}, UserShape, nil)
	get(r, httpx.Op{ID: "182", Path: "/users/recipients/{id}", Summary: "Get recipient by id", Tags: tags, Permission: "users.view"}, UserShape, kind(directory.KindRecipient))
	httpx.Register(r.api, httpx.Op{ID: "178", Method: http.MethodGet, Path: "/users/profile", Summary: "Get user profile", Tags: tags, Returns: Envelope[User]{}},
		func(ctx context.Context, _ *struct{}) (*httpx.Raw, error) {
			actor, ok := domain.ActorOf(ctx)
			if !ok {
				return nil, fault.New(fault.Unauthenticated, "credential.missing", "a credential is needed")
			}
			// One sees oneself wherever one works.
			data, err := r.reader.Get(ctx, query.Request{Shape: UserShape, Scope: query.Everything()}, actor.UserID)
			if err != nil {
				return nil, err
			}
			return &httpx.Raw{ContentType: "application/json", Body: Wrap(data)}, nil
		})
	everything(r, httpx.Op{ID: "28", Path: "/groups/{id}/members", Summary: "Get group members", Tags: []string{"Group"}, Permission: "groups.view"}, UserShape,
		func(ctx context.Context, in *ByID) (query.Expr, error) {
			return query.Equals("group_id", in.ID), r.exists(ctx, GroupShape, in.ID)
		})
}

// ofSeenGroup lets nobody find out who is in a group that they don't see.
func (r *Reads) ofSeenGroup(ctx context.Context, in *Listing) (query.Expr, error) {
	asked, err := bracket.Parse(users, in.query())
	if err != nil {
		return nil, err
	}
	group, ok := asked.Equal("group_id").(domain.ID)
	if !ok {
		return nil, nil
	}
	if err := r.exists(ctx, GroupShape, group); !fault.Is(err, fault.NotFound) {
		return nil, err
	}
	return query.Or{}, nil // nobody
}

// userKind reads the type of a person.
func userKind(text string) (any, error) {
	switch kind := strings.ToLower(text); directory.UserKind(kind) {
	case directory.KindUser, directory.KindRecipient:
		return kind, nil
	}
	return nil, fmt.Errorf("is neither user nor recipient")
}

// userOrGroup reads the type of a principal.
func userOrGroup(text string) (any, error) {
	switch kind := strings.ToLower(text); kind {
	case "user", "group":
		return kind, nil
	}
	return nil, fmt.Errorf("is neither user nor group")
}
