package client

import (
	"context"
	"errors"
	"io"
)

// Stream calls and copies the body of a successful answer to out while it
// arrives. An answer that breaks off is *Unreachable; what came of it was copied.
func (c *Client) Stream(ctx context.Context, r Request, out io.Writer) error {
	request, err := c.request(ctx, r)
	if err != nil {
		return err
	}
	answer, err := c.HTTP.Do(request)
	if err != nil {
		return c.unreachable(ctx, err)
	}
	defer answer.Body.Close()
	if answer.StatusCode >= 300 {
		body, err := io.ReadAll(answer.Body)
		if err != nil {
			return c.unreachable(ctx, err)
		}
		return refused(answer, body)
	}
	w := &target{out: out}
	_, err = io.Copy(w, answer.Body)
	switch {
	case w.err != nil:
		return w.err
	case err != nil:
		return c.unreachable(ctx, err)
	}
	return nil
}

// target tells an output that fails from an input that does.
type target struct {
	out io.Writer
	err error
}

func (t *target) Write(p []byte) (n int, err error) {
	n, err = t.out.Write(p)
	t.err = errors.Join(t.err, err)
	return n, err
}
