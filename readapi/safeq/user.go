package safeq

import (
	"cmp"
	"context"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"docket/domain"
	"docket/domain/fault"
	"docket/internal/httpx"
	"docket/readapi/access"
	"docket/readapi/query"
)

// UserInfo is a user as this API shows them. Passwords and PINs are never shown.
type UserInfo struct {
	ID          int32      `json:"id"`
	ProviderID  int32      `json:"providerId"`
	AccountID   int32      `json:"accountId"`
	UserName    string     `json:"userName"`
	FullName    string     `json:"fullName"`
	Email       string     `json:"email"`
	Department  string     `json:"department"`
	ShortID     string     `json:"shortId"`
	Cards       []string   `json:"cards"`
	CreatedDate time.Time  `json:"createdDate"`
	Token       *TokenInfo `json:"token" doc:"Of a login only."`
	IsExpired   *bool      `json:"isExpired" doc:"Always null: there are no providers of the type Client."`
	GroupIDs    []int32    `json:"groupIds"`
}

// LocalProvider is the id of the provider of users who were made here. Those of a
// user directory belong to the provider with the directory's number and one.
const LocalProvider = 1

// Providers are the ids of providers by the user directories behind them.
type Providers map[string]int32

// ID is the provider of a user or group by its source.
func (p Providers) ID(source string) int32 {
	if source == "" {
		return LocalProvider
	}
	return p[source]
}

// Source is the user directory behind a provider; ok is false for none.
func (p Providers) Source(id int32) (source string, ok bool) {
	if id == LocalProvider {
		return "", true
	}
	for source, n := range p {
		if n == id {
			return source, true
		}
	}
	return "", false
}

type directoryRow struct {
	ID     domain.ID `json:"id" col:"id"`
	Number int32     `json:"number" col:"number"`
}

var directoryShape = query.MustShape[directoryRow](query.MustDefine(query.Resource{
	Name: "provider", Table: "rm_directory.user_directories", Unscoped: true, // ids only
}))

// Providers are those of all accounts.
func (r *Reads) Providers(ctx context.Context) (Providers, error) {
	rows, err := query.FetchAll(ctx, r.reader, directoryShape, query.Request{Scope: query.Everything()})
	p := make(Providers, len(rows))
	for _, row := range rows {
		p[row.ID.String()] = row.Number + 1
	}
	return p, err
}

// UserInfoOf shows a person.
func UserInfoOf(p access.Person, providers Providers) UserInfo {
	return UserInfo{ID: p.Number, ProviderID: providers.ID(p.Source), AccountID: p.AccountNumber, UserName: LoginName(p), FullName: p.FullName, Email: p.Email,
		Department: p.Department, ShortID: p.ShortID, Cards: p.Cards, CreatedDate: p.CreatedAt.UTC(), GroupIDs: p.GroupNumbers}
}

// LoginName is by what a person is known here: the user name, or the mail address
// of who has none.
func LoginName(p access.Person) string { return cmp.Or(p.UserName, p.Email) }

// Person finds a user of the caller's account, or of one below, by the login name.
// Provider 0 is any. Nil means that there is none.
func (r *Reads) Person(ctx context.Context, name string, provider int32) (*access.Person, error) {
	return r.PersonIn(ctx, CallerOf(ctx).Account.ID, name, provider)
}

// PersonIn is Person in another account.
func (r *Reads) PersonIn(ctx context.Context, account domain.ID, name string, provider int32) (*access.Person, error) {
	if strings.TrimSpace(name) == "" || !Storable(name) {
		return nil, nil
	}
	providers := Providers{}
	if provider > LocalProvider {
		var err error
		if providers, err = r.Providers(ctx); err != nil {
			return nil, err
		}
	}
	for _, by := range []access.PersonKey{access.ByUserName, access.ByEmail} {
		people, err := r.gate.Directory.People(ctx, account, by, name)
		if err != nil {
			return nil, err
		}
		for _, p := range people {
			if provider == 0 || providers.ID(p.Source) == provider {
				return &p, nil
			}
		}
	}
	return nil, nil
}

// Usable tells whether somebody may log in and be printed for.
func Usable(p access.Person, now time.Time) bool {
	return p.Active && (p.ExpiresAt == nil || now.Before(*p.ExpiresAt))
}

// PersonByID finds the user of a token.
func (r *Reads) PersonByID(ctx context.Context, id domain.ID) (*access.Person, error) {
	people, err := r.gate.Directory.People(ctx, CallerOf(ctx).Account.ID, access.ByUserID, id.String())
	if err != nil || len(people) == 0 {
		return nil, err
	}
	return &people[0], nil
}

// Owners are whose documents a user may see and release: their own, and those of
// the user that their alias names ("name@domain#provider").
func (r *Reads) Owners(ctx context.Context, user domain.ID) ([]domain.ID, error) {
	owners := []domain.ID{user}
	person, err := r.PersonByID(ctx, user)
	if err != nil || person == nil || person.Alias == "" {
		return owners, err
	}
	name, suffix, _ := strings.Cut(person.Alias, "#")
	provider, err := strconv.ParseInt(cmp.Or(suffix, "0"), 10, 32)
	if err != nil {
		return owners, nil //nolint:nilerr // such an alias names nobody
	}
	other, err := r.Person(ctx, name, int32(provider))
	if err != nil || other == nil {
		return owners, err
	}
	return append(owners, other.ID), nil
}

// NoSuchUser is the fault about a user that is not there for the caller.
func NoSuchUser(name string) *fault.Error {
	return fault.New(fault.NotFound, "user.not-found", "user %.100q not found", name)
}

// userRow is a user in a list.
type userRow struct {
	ID             domain.ID `json:"id" col:"id"`
	Number         int32     `json:"number" col:"number"`
	Source         string    `json:"source" col:"source"`
	OrganizationID domain.ID `json:"organizationId" col:"organization_id"`
	AccountNumber  int32     `json:"accountNumber" col:"organization.number"`
	UserName       string    `json:"userName" col:"user_name"`
	FullName       string    `json:"fullName" col:"full_name"`
	FirstName      string    `json:"firstName" col:"first_name"`
	LastName       string    `json:"lastName" col:"last_name"`
	Email          string    `json:"email" col:"email"`
	Department     string    `json:"department" col:"department"`
	ShortID        string    `json:"shortId" col:"short_id"`
	Active         bool      `json:"active" col:"is_active"`
	CreatedAt      time.Time `json:"createdAt" col:"created_at"`
	Cards          []string  `json:"cards" col:"cards,json"`
	Groups         []int32   `json:"groups" col:"group_numbers,json"`
}

var users = query.MustDefine(query.Resource{
	Name: "user", Table: "rm_directory.users",
	ScopeVia: &query.Membership{Table: "rm_directory.user_organizations", Row: "user_id", Organization: "organization_id"},
	Joins:    []query.Join{{Name: "organization", Table: "rm_directory.organizations", FK: "organization_id"}},
	Fields: []query.Field{
		{Name: "id", Column: "id", Kind: query.UUID, Ops: query.Eq | query.In},
		{Name: "number", Column: "number", Kind: query.Int, Ops: query.Eq, Sortable: true},
		{Name: "kind", Column: "kind", Exact: true, Ops: query.Eq},
		{Name: "userName", Column: "user_name", Folded: "user_name_f", Ops: query.Eq | query.In, Sortable: true},
		{Name: "email", Column: "email", Folded: "email_f", Ops: query.Eq | query.In},
		{Name: "source", Column: "source", Exact: true, Ops: query.Eq},
		{Name: "active", Column: "is_active", Kind: query.Bool, Ops: query.Eq},
		{Name: "group", Kind: query.UUID, Ops: query.Eq, Sub: &query.Sub{Table: "rm_directory.user_groups", Row: "user_id", Column: "group_id"}},
	},
	DefaultSort: query.Sort{Field: "userName"},
})

var userShape = query.MustShape[userRow](users,
	query.Virtual("cards", `(select coalesce(jsonb_agg(c.card order by c.added_at, c.card_key), '[]') from rm_directory.user_cards c where c.user_id = t.id)`),
	query.Virtual("group_numbers", `(select coalesce(jsonb_agg(g.number order by g.number), '[]') from rm_directory.user_groups m join rm_directory.groups g on g.id = m.group_id where m.user_id = t.id)`))

func (u userRow) info(providers Providers) UserInfo {
	return UserInfo{ID: u.Number, ProviderID: providers.ID(u.Source), AccountID: u.AccountNumber, UserName: cmp.Or(u.UserName, u.Email), FullName: u.FullName,
		Email: u.Email, Department: u.Department, ShortID: u.ShortID, Cards: u.Cards, CreatedDate: u.CreatedAt.UTC(), GroupIDs: u.Groups}
}

// Member is a user as an import knows them.
type Member struct {
	ID                  domain.ID
	UserName, Email     string
	FirstName, LastName string
	Active              bool
	Source              string
	OrganizationID      domain.ID // home
	Groups              []int32   // numbers
}

func (u userRow) member() Member {
	return Member{ID: u.ID, UserName: u.UserName, Email: u.Email, FirstName: u.FirstName, LastName: u.LastName, Active: u.Active, Source: u.Source,
		OrganizationID: u.OrganizationID, Groups: u.Groups}
}

var onlyUsers = query.Equals("kind", "user")

// MembersOf are the users in a group, whoever may see them.
func (r *Reads) MembersOf(ctx context.Context, group domain.ID) ([]Member, error) {
	return r.members(ctx, query.Everything(), query.All(onlyUsers, query.Equals("group", group)))
}

// Taken finds who has one of these user names or mail addresses, in whatever
// account: both are unique in all of them.
func (r *Reads) Taken(ctx context.Context, field string, values []string) ([]Member, error) {
	var all []Member
	for part := range slices.Chunk(values, 1000) {
		found, err := r.members(ctx, query.Everything(), query.OneOf(field, part...))
		if err != nil {
			return nil, err
		}
		all = append(all, found...)
	}
	return all, nil
}

func (r *Reads) members(ctx context.Context, scope query.Scope, filter query.Expr) ([]Member, error) {
	rows, err := query.FetchAll(ctx, r.reader, userShape, query.Request{Scope: scope, Filter: filter})
	all := make([]Member, len(rows))
	for i, row := range rows {
		all[i] = row.member()
	}
	return all, err
}

type listOfUsers struct{ Body []UserInfo }

// UserPage is the answer of a list that the vendor's clients know of, though the
// documents don't.
type UserPage struct {
	Items         []UserInfo `json:"items"`
	RecordsOnPage int        `json:"recordsOnPage"`
	NextPageToken string     `json:"nextPageToken"`
}

func registerUsers(r *Reads) {
	tags := []string{"Users"}
	type byName struct {
		UserName   string `query:"username" required:"true" minLength:"1"`
		ProviderID int32  `query:"providerid" doc:"0 or absent: any."`
	}
	type answer struct{ Body UserInfo }
	op := httpx.Op{ID: "22", Method: http.MethodGet, Path: Base + "/users", Summary: "Get user information", Tags: tags}
	Register(r.api, op, Needs{Rights: []string{"ViewUser"}, Advanced: true}, func(ctx context.Context, in *byName) (*answer, error) {
		p, err := r.Person(ctx, in.UserName, in.ProviderID)
		if err != nil {
			return nil, err
		}
		if p == nil {
			return nil, NoSuchUser(in.UserName)
		}
		providers, err := r.Providers(ctx)
		return &answer{UserInfoOf(*p, providers)}, err
	})

	type all struct {
		ProviderID int32  `query:"providerid"`
		MaxRecords int    `query:"maxrecords" default:"200" minimum:"1" maximum:"2000"`
		PageToken  string `query:"pagetoken"`
		Next       string `query:"nextPageToken"`
	}
	type page struct{ Body UserPage }
	op = httpx.Op{ID: "users-all", Extra: true, Method: http.MethodGet, Path: Base + "/users/all", Summary: "Get all users", Tags: tags,
		Description: "Not documented by the vendor; public clients use it. A page token goes with the same providerid."}
	Register(r.api, op, Needs{Rights: []string{"ViewUser"}, Advanced: true}, func(ctx context.Context, in *all) (*page, error) {
		providers, err := r.Providers(ctx)
		if err != nil {
			return nil, err
		}
		filter := onlyUsers
		if in.ProviderID != 0 {
			source, known := providers.Source(in.ProviderID)
			if !known {
				return nil, fault.InvalidQuery("providerid", "is no provider's")
			}
			filter = query.All(onlyUsers, query.Equals("source", source))
		}
		rows, got, err := query.Fetch(ctx, r.reader, userShape, query.Request{Scope: scope(ctx), Filter: filter, Sort: query.Sort{Field: "number"},
			Limit: in.MaxRecords, Next: cmp.Or(in.PageToken, in.Next)})
		if err != nil {
			return nil, named(err, "pagetoken")
		}
		out := UserPage{Items: make([]UserInfo, len(rows)), RecordsOnPage: len(rows), NextPageToken: got.Next}
		for i, row := range rows {
			out.Items[i] = row.info(providers)
		}
		return &page{out}, nil
	})

	type ofUser struct {
		UserName string `path:"username"`
	}
	op = httpx.Op{ID: "28", Method: http.MethodGet, Path: Base + "/users/{username}/groups", Summary: "Get the groups of a local user", Tags: tags}
	Register(r.api, op, Needs{Rights: []string{"ViewUser"}, Advanced: true}, func(ctx context.Context, in *ofUser) (*listOfGroups, error) {
		p, err := r.LocalUser(ctx, in.UserName)
		if err != nil {
			return nil, err
		}
		rows, err := r.groups(ctx, query.Equals("user", p.ID))
		return &listOfGroups{rows}, err
	})
}

// LocalUser finds a user of the local provider; another is an Invalid fault.
func (r *Reads) LocalUser(ctx context.Context, name string) (*access.Person, error) {
	p, err := r.Person(ctx, name, LocalProvider)
	if err == nil && p == nil {
		f := fault.InvalidField("username", "there is no local user %.100q", name)
		f.Fields[0].In = "path"
		err = f
	}
	return p, err
}

// named gives a fault about one parameter the name that the client knows it by.
func named(err error, parameter string) error {
	f := fault.Of(err)
	if f.Kind != fault.Invalid {
		return err
	}
	return fault.InvalidQuery(parameter, "is no token of this list")
}
