package httpx

import (
	"net/http"
	"net/url"
	"sort"
	"strings"
)

// router finds the operation for a method and a path: a tree over path segments
// in which a literal segment wins over a parameter, from left to right. The
// documented paths hold pairs such as /conditions/{id}/rules and
// /conditions/rules/{id}, which http.ServeMux refuses to register together;
// here the order of preference settles them. Like ServeMux it looks for the
// method too: GET /users/import is GET /users/{id} when only POST is literal.
type router struct {
	root node
	last *route // added last
}

type node struct {
	literal map[string]*node
	param   *node
	routes  map[string]*route
}

type route struct {
	names   []string // of the parameters, in order
	handle  http.HandlerFunc
	changes bool // so that HEAD must not stand for GET
}

func newRouter() *router { return &router{} }

// HandleFunc adds "METHOD /path". It makes the router an adapter's mux.
func (t *router) HandleFunc(pattern string, handle func(http.ResponseWriter, *http.Request)) {
	method, path, _ := strings.Cut(pattern, " ")
	n := &t.root
	var names []string
	for _, segment := range strings.Split(path, "/")[1:] {
		if strings.HasPrefix(segment, "{") && strings.HasSuffix(segment, "}") {
			names = append(names, segment[1:len(segment)-1])
			if n.param == nil {
				n.param = &node{}
			}
			n = n.param
			continue
		}
		if n.literal == nil {
			n.literal = map[string]*node{}
		}
		if n.literal[segment] == nil {
			n.literal[segment] = &node{}
		}
		n = n.literal[segment]
	}
	if n.routes == nil {
		n.routes = map[string]*route{}
	}
	if n.routes[method] != nil {
		panic("httpx: route registered twice: " + pattern)
	}
	t.last = &route{names: names, handle: handle}
	n.routes[method] = t.last
}

// ServeHTTP serves a request whose path starts at the root.
func (t *router) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	found, values := t.find(r.Method, r.URL.EscapedPath())
	if found == nil {
		http.NotFound(w, r)
		return
	}
	found.bind(r, values)
	found.handle(w, r)
}

func (rt *route) bind(r *http.Request, values []string) {
	for i, name := range rt.names {
		r.SetPathValue(name, values[i])
	}
}

// find looks a route up by an escaped path. HEAD falls back to GET. The values
// are unescaped and in the order of the route's names.
func (t *router) find(method, path string) (*route, []string) {
	var buffer [8]string
	found, values := t.root.find(method, strings.TrimPrefix(path, "/"), buffer[:0])
	if found == nil && method == http.MethodHead {
		return t.find(http.MethodGet, path)
	}
	for i, v := range values {
		if strings.IndexByte(v, '%') >= 0 {
			plain, err := url.PathUnescape(v)
			if err != nil {
				return nil, nil
			}
			values[i] = plain
		}
	}
	return found, values
}

func (n *node) find(method, rest string, values []string) (*route, []string) {
	segment, tail, more := strings.Cut(rest, "/")
	if next := n.literal[segment]; next != nil {
		if found, got := next.step(method, tail, more, values); found != nil {
			return found, got
		}
	}
	if n.param != nil && segment != "" {
		return n.param.step(method, tail, more, append(values, segment))
	}
	return nil, nil
}

func (n *node) step(method, tail string, more bool, values []string) (*route, []string) {
	if more {
		return n.find(method, tail, values)
	}
	if found := n.routes[method]; found != nil {
		return found, append([]string(nil), values...)
	}
	return nil, nil
}

// allowed lists the methods that the path has, for Allow.
func (t *router) allowed(path string) []string {
	seen := map[string]bool{}
	t.root.collect(strings.TrimPrefix(path, "/"), seen)
	if seen[http.MethodGet] {
		seen[http.MethodHead] = true
	}
	methods := make([]string, 0, len(seen)+1)
	for m := range seen {
		methods = append(methods, m)
	}
	if len(methods) > 0 {
		methods = append(methods, http.MethodOptions)
	}
	sort.Strings(methods)
	return methods
}

func (n *node) collect(rest string, seen map[string]bool) {
	segment, tail, more := strings.Cut(rest, "/")
	for _, next := range []*node{n.literal[segment], n.param} {
		if next == nil || (next == n.param && segment == "") {
			continue
		}
		if more {
			next.collect(tail, seen)
			continue
		}
		for m := range next.routes {
			seen[m] = true
		}
	}
}
