package commands

import (
	"context"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"
)

// A turn that comes in the moment its waiter gives up goes to the next one.
func TestTurnIsPassedOn(t *testing.T) {
	for range 50 { // which of the two a waiter notices is left to chance
		synctest.Test(t, func(t *testing.T) {
			var turns turns
			ctx, cancel := context.WithCancel(context.Background())
			require.NoError(t, turns.take(ctx, "s"))
			first, second := make(chan error, 1), make(chan error, 1)
			go func() { first <- turns.take(ctx, "s") }()
			synctest.Wait()
			go func() { second <- turns.take(context.Background(), "s") }()
			synctest.Wait()
			cancel()
			turns.leave("s")
			if err := <-first; err == nil {
				turns.leave("s")
			}
			require.NoError(t, <-second) // stuck otherwise, which the bubble reports
			turns.leave("s")
			require.Empty(t, turns.queues)
		})
	}
}

func TestTurnsComeInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var turns turns
		ctx := context.Background()
		require.NoError(t, turns.take(ctx, "s"))
		require.NoError(t, turns.take(ctx, "other"))
		order := make(chan int, 5)
		leaving, cancel := context.WithCancel(ctx)
		for i := range 5 {
			go func() {
				mine := ctx
				if i == 2 {
					mine = leaving
				}
				if turns.take(mine, "s") == nil {
					order <- i
					turns.leave("s")
				}
			}()
			synctest.Wait()
		}
		cancel()
		synctest.Wait()
		turns.leave("s")
		synctest.Wait()
		close(order)
		var got []int
		for i := range order {
			got = append(got, i)
		}
		require.Equal(t, []int{0, 1, 3, 4}, got)
		turns.leave("other")
		require.Empty(t, turns.queues)
	})
}
