package qalyptus

import (
	"context"
	"time"

	"docket/domain"
	"docket/domain/directory"
	"docket/internal/httpx"
	"docket/readapi/query"
)

// APIKey as this API shows it. The key itself is shown once, when it is made.
type APIKey struct {
	ID           domain.ID       `json:"id" col:"id"`
	Name         string          `json:"name" col:"name"`
	Description  string          `json:"description" col:"description"`
	ExpiryDate   time.Time       `json:"expiryDate" col:"expires_at"`
	Expired      bool            `json:"expired" col:"expired"`
	CreatedAt    time.Time       `json:"createdAt" col:"created_at"`
	User         keyUser         `json:"user"`
	Organization organizationRef `json:"organization"`
}

type keyUser struct {
	ID   domain.ID `json:"id" col:"user_id"`
	Name string    `json:"name" col:"user.name"`
}

var apiKeys = query.MustDefine(query.Resource{
	Name: "apikey", Table: "rm_directory.api_keys", ScopeColumn: "organization_id",
	Joins: []query.Join{organizationJoin, {Name: "user", Table: "rm_directory.principals", FK: "user_id", Required: true}},
	Fields: []query.Field{
		{Name: "name", Column: "name", Folded: "name_f", Ops: textOps, Sortable: true},
		{Name: "description", Column: "description", Folded: "description_f", Ops: textOps, Sortable: true},
		{Name: "organization.name", Column: "name", Folded: "name_f", Join: "organization", Sortable: true},
		{Name: "createdAt", Column: "created_at", Kind: query.Time, Sortable: true},
		{Name: "expiryDate", Column: "expires_at", Kind: query.Time, Sortable: true, Ops: query.Range},
		{Name: "user_id", Column: "user_id", Kind: query.UUID, Ops: query.Eq},
		{Name: "expired", Kind: query.Bool, Ops: query.Eq, Rewrite: expired},
	},
	DefaultSort: query.Sort{Field: "name"},
})

// APIKeyShape reads API keys.
var APIKeyShape = query.MustShape[APIKey](apiKeys, query.Virtual("expired", "t.expires_at <= now()"))

// expired compares the expiry with the present.
func expired(c query.Compare) (query.Expr, error) {
	op := query.Gt
	if yes, _ := c.Value.(bool); yes {
		op = query.Le
	}
	return query.Compare{Field: "expiryDate", Op: op, Value: time.Now()}, nil
}

// APIKeyOf is a key as the command side knows it.
func APIKeyOf(k directory.APIKey, n Names) APIKey {
	return APIKey{ID: k.ID, Name: k.Name, Description: k.Description, ExpiryDate: k.ExpiresAt, Expired: !k.ExpiresAt.After(time.Now()), CreatedAt: k.CreatedAt,
		User: keyUser(n.ref(k.UserID)), Organization: organizationRef(n.ref(k.OrganizationID))}
}

// own limits keys to those of the caller.
func own(ctx context.Context) query.Expr {
	actor, _ := domain.ActorOf(ctx)
	return query.Equals("user_id", actor.UserID)
}

func registerAPIKeys(r *Reads) {
	tags := []string{"API Key"}
	list(r, httpx.Op{ID: "2", Path: "/api-keys", Summary: "Get user API keys", Tags: tags, Permission: "apiKeys.use"}, APIKeyShape,
		func(ctx context.Context, _ *Listing) (query.Expr, error) { return own(ctx), nil })
	get(r, httpx.Op{ID: "4", Path: "/api-keys/{id}", Summary: "Get user API key", Tags: tags, Permission: "apiKeys.use"}, APIKeyShape, own)
	list[APIKey, Listing](r, httpx.Op{ID: "9", Path: "/api-keys/admin", Summary: "Get all API keys (Admin)", Tags: tags, Permission: "apiKeys.manageAll"}, APIKeyShape, nil)
}
