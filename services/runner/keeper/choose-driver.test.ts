import { expect, test } from 'bun:test'
import { chooseDriver } from './choose-driver.ts'

const works = (detail: string) => async () => ({ ok: true, detail }) as const
const fails = (reason: string) => async () => ({ ok: false, reason }) as const
const unasked = async (): Promise<never> => {
  throw new Error('nobody asked for this probe')
}

test('bubblewrap is taken where it works, and docker is not even asked', async () => {
  expect(await chooseDriver(undefined, { bwrap: works('bwrap 1'), docker: unasked })).toEqual({
    driver: 'bwrap',
    why: 'bwrap 1; no daemon needed',
  })
})

test('docker is taken where bubblewrap does not work, and the reason is told', async () => {
  const probes = { bwrap: fails('No namespaces.'), docker: works('Docker 20') }
  expect(await chooseDriver(undefined, probes)).toEqual({
    driver: 'docker',
    why: 'Docker 20. No namespaces.',
  })
})

test('where neither works both reasons are told', async () => {
  const probes = { bwrap: fails('No namespaces.'), docker: fails('No engine.') }
  expect(await chooseDriver(undefined, probes)).toEqual({
    refused:
      'Nothing on this machine can make a sandbox. bubblewrap: No namespaces. Docker: No engine.',
  })
})

test('what is asked for is taken or refused, and never replaced', async () => {
  const docker = { bwrap: unasked, docker: works('Docker 20') }
  expect(await chooseDriver('docker', docker)).toEqual({
    driver: 'docker',
    why: 'asked for by RUNNER_DRIVER: Docker 20',
  })
  expect(await chooseDriver('docker', { bwrap: unasked, docker: fails('No engine.') })).toEqual({
    refused: 'RUNNER_DRIVER asks for docker. No engine.',
  })
  expect(await chooseDriver('bwrap', { bwrap: fails('Too old.'), docker: unasked })).toEqual({
    refused: 'RUNNER_DRIVER asks for bwrap. Too old.',
  })
})
