package query

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"docket/internal/textfold"
)

// The model: items of organizations (which may be missing) and projects (which
// are always there), with labels of their own and tags by reference.

type modelRow struct {
	id           uuid.UUID
	organization *uuid.UUID
	project      uuid.UUID
	name         string
	description  *string
	code         string
	active       bool
	size         int64
	created      time.Time
	due          *time.Time
	labels       []string
	tags         []string
	members      []uuid.UUID // organizations that see the row
}

type namedRow struct {
	id   uuid.UUID
	name string
}

type model struct {
	organizations []namedRow
	projects      []namedRow
	rows          []modelRow
}

const modelSchema = `
create schema m;
create table m.organizations (id uuid primary key, name text not null, name_f text collate "C" not null);
create table m.projects (id uuid primary key, name text not null, name_f text collate "C" not null);
create table m.tags (id uuid primary key, name text not null, name_f text collate "C" not null);
create table m.items (
	id uuid primary key, organization_id uuid, project_id uuid not null,
	name text not null, name_f text collate "C" not null,
	description text, description_f text collate "C",
	code text collate "C" not null, is_active bool not null, size int not null,
	created_at timestamptz not null, due_at timestamptz, extra jsonb not null, aliases text[] not null, refs uuid[] not null);
create table m.item_labels (item_id uuid, label text, label_f text collate "C");
create table m.item_tags (item_id uuid, tag_id uuid);
create table m.item_organizations (item_id uuid, organization_id uuid);
create table m.counters (table_name text, key text, n bigint);
create index on m.items (name_f, id);
create index on m.items (reverse(name_f));
create index on m.items using gin (name_f gin_trgm_ops);
create index on m.items (organization_id, name_f, id);
create index on m.items (organization_id, id);
create index on m.items (project_id, id);
create index on m.items (due_at, id);
`

func modelFields() []Field {
	return []Field{
		{Name: "id", Column: "id", Kind: UUID, Ops: Equality, Sortable: true},
		{Name: "name", Column: "name", Folded: "name_f", Ops: TextOps | Range, Sortable: true, Reversed: true},
		{Name: "description", Column: "description", Folded: "description_f", Ops: TextOps | Range, Sortable: true, Nullable: true},
		{Name: "code", Column: "code", Exact: true, Ops: TextOps | Range, Sortable: true},
		{Name: "isActive", Aliases: []string{"active"}, Column: "is_active", Kind: Bool, Ops: Equality, Sortable: true},
		{Name: "size", Column: "size", Kind: Int, Ops: OrderOps, Sortable: true},
		{Name: "createdAt", Column: "created_at", Kind: Time, Ops: OrderOps, Sortable: true},
		{Name: "dueAt", Column: "due_at", Kind: Time, Ops: OrderOps, Sortable: true, Nullable: true},
		{Name: "dueSecond", Column: "due_at", Kind: Time, Ops: OrderOps, Seconds: true},
		{Name: "organizationId", Column: "organization_id", Kind: UUID, Ops: Equality, Sortable: true, Nullable: true},
		{Name: "organization.name", Column: "name", Folded: "name_f", Ops: TextOps, Sortable: true, Join: "organization"},
		{Name: "project.name", Column: "name", Folded: "name_f", Ops: TextOps, Sortable: true, Join: "project"},
		{Name: "label", Column: "label", Folded: "label_f", Ops: TextOps, Sub: &Sub{Table: "m.item_labels", Row: "item_id", Column: "label"}},
		{Name: "tag", Column: "name", Folded: "name_f", Ops: TextOps, Sub: &Sub{Table: "m.item_tags", Row: "item_id", Column: "tag_id", Via: &Via{Table: "m.tags"}}},
		{Name: "status", Ops: TextOps, Sortable: true, SortBy: "isActive", Inverted: true,
			Rewrite: Labels("isActive", map[string]any{"active": true, "disabled": false})},
		{Name: "secret", Column: "code", Exact: true, Ops: TextOps, Sortable: true, Hidden: true},
	}
}

func modelResource(adjust func(*Resource)) *Resource {
	r := Resource{
		Name: "item", Table: "m.items", Fields: modelFields(),
		Joins: []Join{
			{Name: "organization", Table: "m.organizations", FK: "organization_id"},
			{Name: "project", Table: "m.projects", FK: "project_id", Required: true},
		},
		Indexes:     []string{"organization_id,name_f", "organization_id"},
		DefaultSort: Sort{Field: "name"},
		Counters:    []string{"", "organization_id", "is_active", "organization_id,is_active"},
	}
	adjust(&r)
	return MustDefine(r)
}

var (
	byColumn     = modelResource(func(r *Resource) { r.ScopeColumn = "organization_id" })
	byMembership = modelResource(func(r *Resource) {
		r.ScopeVia = &Membership{Table: "m.item_organizations", Row: "item_id", Organization: "organization_id"}
	})
	unscoped = modelResource(func(r *Resource) { r.Unscoped = true; r.DefaultSort = Sort{} })
)

type item struct {
	ID          uuid.UUID       `json:"id" col:"id"`
	Name        string          `json:"name" col:"name"`
	Description *string         `json:"description" col:"description"`
	Code        string          `json:"code,omitempty" col:"code"`
	Active      bool            `json:"isActive" col:"is_active"`
	Size        int32           `json:"size" col:"size"`
	Created     time.Time       `json:"createdAt" col:"created_at"`
	Due         *time.Time      `json:"dueAt,omitempty" col:"due_at"`
	Extra       json.RawMessage `json:"extra" col:"extra,json"`
	Aliases     []string        `json:"aliases" col:"aliases"`
	Refs        []uuid.UUID     `json:"refs" col:"refs"`
	Project     struct {
		ID   uuid.UUID `json:"id" col:"project_id"`
		Name string    `json:"name" col:"project.name"`
	} `json:"project"`
	Organization *struct {
		ID   uuid.UUID `json:"id" col:"organization.id"`
		Name string    `json:"name" col:"organization.name"`
	} `json:"organization"`
}

var letters = []string{"a", "B", "ab", "abc", "ABC", "sales", "Zü", "ÜBER", "ß", "İ", "é", "e\u0301", "%", "_", `\`, "'", `"`, " ", "日本語", "жжж", "😀", "\n", "\u2028", "<"}

func randomText(rnd *rand.Rand, parts int) string {
	var b strings.Builder
	for range rnd.IntN(parts + 1) {
		b.WriteString(letters[rnd.IntN(len(letters))])
	}
	return b.String()
}

func randomID(rnd *rand.Rand) uuid.UUID {
	var id uuid.UUID
	for i := range id {
		id[i] = byte(rnd.Uint32())
	}
	return id
}

func makeModel(seed uint64, rows int) *model {
	rnd := rand.New(rand.NewPCG(seed, 1))
	m := &model{}
	named := func(n int) []namedRow {
		list := make([]namedRow, n)
		for i := range list {
			list[i] = namedRow{randomID(rnd), randomText(rnd, 3)}
		}
		return list
	}
	m.organizations, m.projects = named(6), named(9)
	m.organizations[1].name = m.organizations[0].name // ties are broken by id
	dangling := randomID(rnd)
	start := time.Date(2024, 2, 28, 23, 59, 0, 0, time.UTC)
	for range rows {
		r := modelRow{
			id: randomID(rnd), project: m.projects[rnd.IntN(len(m.projects))].id, name: randomText(rnd, 4),
			code: randomText(rnd, 2), active: rnd.IntN(3) > 0, size: int64(rnd.IntN(9) - 4),
			created: start.Add(time.Duration(rnd.IntN(100)) * 333333 * time.Microsecond),
		}
		switch n := rnd.IntN(12); {
		case n == 0:
		case n == 1:
			r.organization = &dangling
		default:
			r.organization = &m.organizations[rnd.IntN(len(m.organizations))].id
		}
		if rnd.IntN(3) > 0 {
			d := randomText(rnd, 3)
			r.description = &d
		}
		if rnd.IntN(3) > 0 {
			d := start.Add(time.Duration(rnd.IntN(40)) * 250 * time.Millisecond)
			r.due = &d
		}
		for range rnd.IntN(3) {
			r.labels = append(r.labels, randomText(rnd, 2))
			r.tags = append(r.tags, letters[rnd.IntN(5)])
			r.members = append(r.members, m.organizations[rnd.IntN(len(m.organizations))].id)
		}
		m.rows = append(m.rows, r)
	}
	return m
}

func (m *model) store(t testing.TB, pool *pgxpool.Pool) {
	ctx := context.Background()
	execute(t, pool, modelSchema)
	raw := func(id *uuid.UUID) any {
		if id == nil {
			return nil
		}
		return [16]byte(*id)
	}
	batch := &pgx.Batch{}
	for _, o := range m.organizations {
		batch.Queue("insert into m.organizations values ($1, $2, $3)", raw(&o.id), o.name, textfold.Fold(o.name))
	}
	for _, p := range m.projects {
		batch.Queue("insert into m.projects values ($1, $2, $3)", raw(&p.id), p.name, textfold.Fold(p.name))
	}
	tags := map[string]uuid.UUID{}
	for i, name := range letters[:5] {
		id := uuid.UUID{15: byte(i + 1)}
		tags[name] = id
		batch.Queue("insert into m.tags values ($1, $2, $3)", raw(&id), name, textfold.Fold(name))
	}
	for i, r := range m.rows {
		var folded *string
		if r.description != nil {
			f := textfold.Fold(*r.description)
			folded = &f
		}
		batch.Queue("insert into m.items values ($1,$2,$3,$4,$5,$6,$7,$8,$9,$10,$11,$12,$13,$14,$15)",
			raw(&r.id), raw(r.organization), raw(&r.project), r.name, textfold.Fold(r.name), r.description, folded,
			r.code, r.active, r.size, r.created, r.due,
			fmt.Sprintf(`{"n":%d}`, i), r.labels2(), [][16]byte{r.project})
		for _, l := range r.labels {
			batch.Queue("insert into m.item_labels values ($1, $2, $3)", raw(&r.id), l, textfold.Fold(l))
		}
		for _, tag := range r.tags {
			id := tags[tag]
			batch.Queue("insert into m.item_tags values ($1, $2)", raw(&r.id), raw(&id))
		}
		for _, o := range r.members {
			batch.Queue("insert into m.item_organizations values ($1, $2)", raw(&r.id), raw(&o))
		}
	}
	require.NoError(t, pool.SendBatch(ctx, batch).Close())
	execute(t, pool, "insert into m.counters select 'items', '', count(*) from m.items")
	execute(t, pool, "insert into m.counters select 'items', 'organization_id='||coalesce(organization_id::text, ''), count(*) from m.items group by 2")
	execute(t, pool, "insert into m.counters select 'items', 'is_active='||is_active, count(*) from m.items group by 2")
	execute(t, pool, "insert into m.counters select 'items', 'organization_id='||coalesce(organization_id::text, '')||'&is_active='||is_active, count(*) from m.items group by 2")
	execute(t, pool, "vacuum analyze")
}

// labels2 is never nil, which the column would refuse.
func (r modelRow) labels2() []string { return append([]string{}, r.labels...) }

// evaluated is the oracle's view of a row.
type evaluated struct {
	modelRow
	m *model
}

func (m *model) values(r modelRow) Row { return evaluated{r, m} }

func (r evaluated) Key() uuid.UUID { return r.id }

func (r evaluated) Joined(j *Join) uuid.UUID {
	if j.Name == "project" {
		return r.project
	}
	return *r.organization
}

func (r evaluated) Values(f *Field) []any {
	m := r.m
	switch f.Name {
	case "id":
		return []any{r.id}
	case "name":
		return []any{r.name}
	case "description":
		return optional(r.description)
	case "code", "secret":
		return []any{r.code}
	case "isActive", "status":
		return []any{r.active}
	case "size":
		return []any{r.size}
	case "createdAt":
		return []any{r.created}
	case "dueAt", "dueSecond":
		return optional(r.due)
	case "organizationId":
		return optional(r.organization)
	case "organization.name":
		if o, ok := find(m.organizations, r.organization); ok {
			return []any{o.name}
		}
		return nil
	case "project.name":
		p, _ := find(m.projects, &r.project)
		return []any{p.name}
	case "label":
		return anys(r.labels)
	case "tag":
		return anys(r.tags)
	}
	panic(f.Name)
}

func optional[T any](v *T) []any {
	if v == nil {
		return nil
	}
	return []any{*v}
}

func anys(texts []string) []any {
	var list []any
	for _, s := range texts {
		list = append(list, s)
	}
	return list
}

func find(rows []namedRow, id *uuid.UUID) (namedRow, bool) {
	for _, r := range rows {
		if id != nil && r.id == *id {
			return r, true
		}
	}
	return namedRow{}, false
}

// visible tells whether a row is in a scope.
func (r modelRow) visible(res *Resource, scope Scope) bool {
	if res.Unscoped || scope.kind == scopeAll {
		return true
	}
	for _, id := range scope.ids {
		if res.ScopeVia == nil {
			if r.organization != nil && *r.organization == id {
				return true
			}
			continue
		}
		for _, member := range r.members {
			if member == id {
				return true
			}
		}
	}
	return false
}
