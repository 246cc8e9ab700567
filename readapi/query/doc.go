// Package query reads lists from the read models: one filter algebra, one
// compiler to SQL, one way to page, for all dialects. Grammars on top of it are
// in its sub-packages (bracket, scim).
//
// # For dialect authors
//
// Describe once what may be asked of a table, and what a row looks like:
//
//	var tasks = query.MustDefine(query.Resource{
//		Name:  "task",
//		Table: "rm_reporting.tasks",
//		Joins: []query.Join{{Name: "organization", Table: "rm_directory.organizations", FK: "organization_id", Required: true}},
//		Fields: []query.Field{
//			{Name: "name", Column: "name", Folded: "name_f", Ops: query.Eq | query.Contains, Sortable: true},
//			{Name: "isActive", Column: "is_active", Kind: query.Bool, Ops: query.Eq},
//			{Name: "projectId", Column: "project_id", Kind: query.UUID, Ops: query.Equality},
//			{Name: "organization.name", Column: "name", Folded: "name_f", Sortable: true, Join: "organization"},
//			{Name: "createdDate", Column: "created_at", Kind: query.Time, Sortable: true},
//		},
//		ScopeColumn: "organization_id",
//		DefaultSort: query.Sort{Field: "name"},
//		Indexes:     []string{"organization_id,name_f"},
//	})
//
//	type taskDTO struct {
//		ID      uuid.UUID  `json:"id" col:"id"`
//		Name    string     `json:"name" col:"name"`
//		LastRun *time.Time `json:"lastRun" col:"last_run_at"`
//		Project struct {
//			ID   uuid.UUID `json:"id" col:"project_id"`
//			Name string    `json:"name" col:"project_name"`
//		} `json:"project"`
//		Organization string `json:"organization" col:"organization.name"`
//		Status       string `json:"status"`
//	}
//
//	var taskShape = query.MustShape[taskDTO](tasks,
//		query.Computed("status", func(dst []byte, row query.RawRow) []byte {
//			if row.Bool(0) {
//				return append(dst, `"enabled"`...)
//			}
//			return append(dst, `"disabled"`...)
//		}, "is_active"))
//
// Then a handler is grammar, reader, envelope:
//
//	q, err := bracket.Parse(tasks, r.URL.Query())
//	if err != nil { ... }                       // fault.Invalid names the parameter
//	req := q.Request()
//	req.Shape, req.Scope, req.Total = taskShape, query.Organizations(visible...), true
//	req.Filter = query.All(req.Filter, query.Equals("projectId", id)) // the server's own condition
//	if q.All {
//		return reader.Respond(ctx, w, req, []byte(`{"data":{"items":`), after)
//	}
//	page, err := reader.List(ctx, req)          // page.Items is a JSON array, page.Total a number
//
// A column the table has not is a Virtual one; an enumeration kept as a boolean
// is a field with Rewrite: Labels(...), a state that follows from a time one
// with Before. Reader.Keyset pages by cursor, Reader.Get reads one row, Fetch, FetchOne and
// FetchAll read into values instead of JSON.
//
// # What it promises
//
//   - A request without a Scope is refused; the scope is part of the WHERE.
//   - Only defined fields, operators and orders reach SQL; values are parameters.
//   - Text compares without case (both sides folded by textfold) unless Exact.
//   - Logic is two-valued: a missing value equals nothing, Ne is "not Eq".
//   - Every order ends in the key, so that pages neither repeat nor skip rows.
//
// # What the tables must offer
//
// Text columns named in fields have collation "C" and a folded copy (name_f).
// The orders that lists offer have indexes (column, key); joined ones
// (foreign key, key). Contains wants a trigram index on the folded column;
// Reversed says there is an index on reverse(folded column). Index lists on
// (organization_id, name_f, key) belong into Resource.Indexes, so that the
// page of one organization is read straight from them; counts the projection
// keeps belong into Resource.Counters.
//
// The pool plans with the values at hand (plan_cache_mode=force_custom_plan),
// without jit and parallel workers.
//
// # How pages are found
//
// See Strategy. In short: without filter, or when one index gives matches and
// order, a page costs what it shows. Otherwise the planner's estimate decides:
// up to 20,000 matches are collected and sorted, which gives the total too;
// more are looked for along the sort index, while the total is counted on a
// second connection. Pages of the second half are read from the end; places
// deep in a list are remembered while the table's version stays the same.
package query
