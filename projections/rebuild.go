package projections

import (
	"context"

	"docket/eventstore"
)

// Progress is how far a rebuild is.
type Progress struct {
	Events   int64
	Position eventstore.Position
}

func (r *runner) build(ctx context.Context, c *checkpoint) (eventstore.Position, error) {
	conn, err := r.engine.connect(ctx)
	if err != nil {
		return 0, err
	}
	defer closeConn(conn)
	s := liveSchema(r.group.name)
	err = execAll(ctx, conn, "drop schema if exists "+s+" cascade;"+r.group.tablesSQL(s)+createCounters(s)+r.group.keysSQL(s)+r.group.indexesSQL(s)+
		"insert into docket_projections.checkpoints (group_name, version, position) values ('"+r.group.name+"','"+r.group.version+"',0) on conflict (group_name) do update set position=0, version=excluded.version")
	return 0, err
}
