/** Tests of sandboxes by each driver that can be tried here, with a keeper of its own for each. */
import { afterAll, beforeAll, describe } from 'bun:test'
import type { Sandbox } from '../sandbox/sandbox.ts'
import { startTestStack, type TestSandboxOptions, type TestStack, withSandbox } from './testing.ts'
import { testDrivers } from './testing-process.ts'

type DriverTests = (
  withTools: (
    tools: Record<string, string>,
    use: (sandbox: Sandbox) => Promise<void>,
    options?: TestSandboxOptions,
  ) => Promise<void>,
  stack: () => TestStack,
) => void

/** Declares the tests once a driver. */
export function describeByDriver(name: string, tests: DriverTests): void {
  describe.each(testDrivers)('by %s', (driver) => {
    let stack: TestStack
    beforeAll(async () => {
      stack = await startTestStack(name, driver)
    })
    afterAll(async () => {
      await stack?.stop()
    })
    tests(
      (tools, use, options) => withSandbox(stack, tools, use, options),
      () => stack,
    )
  })
}
